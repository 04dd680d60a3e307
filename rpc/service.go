package rpc

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/proto"
)

// Service describes what a server serves, as a value: its methods, and what discovery
// tells of it. See [Server.Register].
type Service struct {
	// Name is what the service is known by: letters, digits, '.', '_' and '-', at most
	// 100.
	Name string
	// Version and Description are for people. They may be empty.
	Version, Description string
	// Metadata is told by discovery and presence. It may be nil.
	Metadata map[string]string
	// Methods are what is served. Make them with NewMethod or NewRawMethod.
	Methods []Method
}

// Method is one method of a Service.
type Method struct {
	// Name is what callers ask for.
	Name string
	// Description is for people. It may be empty.
	Description string
	// Request and Response name the types of the messages, as NewMethod found them:
	// Protobuf's full name, or Go's. Empty when they are not known.
	Request, Response string

	bind func(*config) Func // nil without a handler
}

// NewMethod returns a method with a typed handler; see [Handle] for its contract.
func NewMethod[Req, Resp any](name string, h func(ctx context.Context, req *Req) (*Resp, error)) Method {
	m := Method{Name: name, Request: typeName[Req](), Response: typeName[Resp]()}
	if h != nil {
		m.bind = func(cfg *config) Func { return typed(cfg, h) }
	}
	return m
}

// NewRawMethod returns a method whose handler decodes and encodes by itself.
func NewRawMethod(name string, f Func) Method {
	m := Method{Name: name}
	if f != nil {
		m.bind = func(*config) Func { return f }
	}
	return m
}

func typeName[T any]() string {
	v := new(T)
	if m, ok := any(v).(proto.Message); ok {
		return string(m.ProtoReflect().Descriptor().FullName())
	}
	return fmt.Sprintf("%T", *v)
}

// Register registers all methods of svc, and makes the server known by its name. All
// or, with an error, none are registered. It is called before the first Start, once;
// more methods may be added with [Handle]. Start fails with what a registration
// failed with, so the error may be left to it.
//
// A Go value with many methods is registered by a function of it that lists them:
//
//	func (g *Greeter) Service() rpc.Service {
//		return rpc.Service{Name: "greeter", Methods: []rpc.Method{
//			rpc.NewMethod("Greet", g.Greet),
//			rpc.NewMethod("Leave", g.Leave),
//		}}
//	}
//
//	err := s.Register(greeter.Service())
//
// What is served is then written down in one place, and a method that is renamed
// keeps its name on the wire.
func (s *Server) Register(svc Service) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	var err *Error
	switch {
	case !validName(svc.Name, 100):
		err = newError(codes.FailedPrecondition, "service "+excerpt(svc.Name)+" can't be registered: the name is empty, over 100 bytes, or has other characters than letters, digits, '.', '_' and '-'", nil)
	case s.service.Name != "":
		err = newError(codes.FailedPrecondition, "service "+svc.Name+" can't be registered: "+s.service.Name+" is, and a server has one", nil)
	}
	added := map[string]*method{}
	for _, m := range svc.Methods {
		if err != nil {
			break
		}
		if _, twice := added[m.Name]; twice {
			err = cannotRegister(m.Name, "it is there twice")
			break
		}
		var ready *method
		if ready, err = s.prepare(m); err == nil {
			added[m.Name] = ready
		}
	}
	if err != nil {
		if !s.started {
			s.invalid = errors.Join(s.invalid, err)
		}
		return err
	}
	s.service = svc
	s.service.Metadata, s.service.Methods = maps.Clone(svc.Metadata), slices.Clone(svc.Methods)
	maps.Copy(s.methods, added)
	return nil
}

// method is a Method that a server serves.
type method struct {
	Method
	invoke Func
	stats  methodStats
}

// prepare checks a method and makes it ready. s.mu is held.
func (s *Server) prepare(m Method) (*method, *Error) {
	_, taken := s.methods[m.Name]
	switch {
	case m.Name == "" || len(m.Name) > maxName:
		return nil, cannotRegister(m.Name, "the name is empty or over 255 bytes")
	case m.bind == nil:
		return nil, cannotRegister(m.Name, "the handler is nil")
	case taken:
		return nil, cannotRegister(m.Name, "it is registered already")
	case s.started:
		return nil, cannotRegister(m.Name, "the server has been started: register before")
	}
	return &method{Method: m, invoke: chain(m.bind(&s.cfg.config), s.cfg.interceptors)}, nil
}

func cannotRegister(name, reason string) *Error {
	return newError(codes.FailedPrecondition, fmt.Sprintf("method %s can't be registered: %s", excerpt(name), reason), nil)
}
