package rpc

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/proto"

	"github.com/trunkline/trunkline/rpc/frame"
	"github.com/trunkline/trunkline/rpc/internal/excerpt"
)

const maxServiceName = 100

// Service describes what a server serves: its methods, and what discovery reports about
// them. See [Server.Register].
type Service struct {
	// Name is the name of the service. It has 1 to 100 bytes: letters, digits, '.', '_' and
	// '-'.
	Name string
	// Version and Description are for people. They may be empty.
	Version, Description string
	// Metadata is published by discovery and presence. It may be nil.
	Metadata map[string]string
	// Methods are the methods of the service, from NewMethod and NewRawMethod.
	Methods []Method
}

// Method is a method of a [Service]. Make it with [NewMethod] or [NewRawMethod]. A Method
// from discovery has no handler, and cannot be registered.
type Method struct {
	// Name is the name that callers use.
	Name string `json:"name"`
	// Description is for people. It may be empty.
	Description string `json:"description,omitempty"`
	// Request and Response are the types of the messages: the full name of a Protobuf
	// message, or the name of a Go type. NewMethod sets them. They are empty if unknown.
	Request  string `json:"request,omitempty"`
	Response string `json:"response,omitempty"`

	bind func(*config) Func // nil without a handler
}

// NewMethod returns a method with a typed handler. [Handle] describes the handler.
func NewMethod[Req, Resp any](name string, h func(ctx context.Context, req *Req) (*Resp, error)) Method {
	m := Method{Name: name, Request: typeName[Req](), Response: typeName[Resp]()}
	if h != nil {
		m.bind = func(cfg *config) Func { return typed(cfg, h) }
	}
	return m
}

// NewRawMethod returns a method whose handler decodes the request and encodes the response
// itself.
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

// Register registers all methods of svc and sets the name of the server for discovery. If
// it returns an error it has registered none. Call it once, before the first Listen. More
// methods may be added with [Handle]. Unless the server already listens, Listen returns the
// same error, so the caller may ignore it here.
//
// A type with many methods can list them in one place. A method that is renamed in Go then
// keeps its name on the wire:
//
//	func (g *Greeter) Service() rpc.Service {
//		return rpc.Service{Name: "greeter", Methods: []rpc.Method{
//			rpc.NewMethod("Greet", g.Greet),
//			rpc.NewMethod("Leave", g.Leave),
//		}}
//	}
//
//	err := s.Register(greeter.Service())
func (s *Server) Register(svc Service) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	added, err := s.prepareService(svc)
	if err != nil {
		if !s.listening {
			s.invalid = errors.Join(s.invalid, err)
		}
		return err
	}
	s.service = svc
	s.service.Metadata, s.service.Methods = maps.Clone(svc.Metadata), slices.Clone(svc.Methods)
	maps.Copy(s.methods, added)
	return nil
}

// prepareService checks a service and prepares its methods. s.mu is held.
func (s *Server) prepareService(svc Service) (map[string]*method, *Error) {
	fail := func(why string) *Error {
		return newError(codes.FailedPrecondition, "register service "+excerpt.Of(svc.Name)+": "+why, nil)
	}
	switch {
	case !validName(svc.Name, maxServiceName):
		return nil, fail(fmt.Sprintf("the name must have 1 to %d %s", maxServiceName, nameRule))
	case s.service.Name != "":
		return nil, fail("the server has a service already: " + s.service.Name)
	}
	added := map[string]*method{}
	for _, m := range svc.Methods {
		if _, twice := added[m.Name]; twice {
			return nil, registrationError(m.Name, "the service lists it twice")
		}
		ready, err := s.prepare(m)
		if err != nil {
			return nil, err
		}
		added[m.Name] = ready
	}
	return added, nil
}

// method is a Method that a server serves.
type method struct {
	Method
	invoke Func
	stats  methodStats
}

// prepare checks a method and wraps it in the interceptors. s.mu is held.
func (s *Server) prepare(m Method) (*method, *Error) {
	_, taken := s.methods[m.Name]
	switch {
	case m.Name == "" || len(m.Name) > frame.MaxName:
		return nil, registrationError(m.Name, fmt.Sprintf("the name must have 1 to %d bytes", frame.MaxName))
	case m.bind == nil:
		return nil, registrationError(m.Name, "the handler is nil")
	case taken:
		return nil, registrationError(m.Name, "it is registered already")
	case s.listening:
		return nil, registrationError(m.Name, "the server is listening: register methods before Listen")
	}
	return &method{Method: m, invoke: chain(m.bind(&s.cfg.config), s.cfg.interceptors)}, nil
}

func registrationError(name, why string) *Error {
	return newError(codes.FailedPrecondition, "register method "+excerpt.Of(name)+": "+why, nil)
}
