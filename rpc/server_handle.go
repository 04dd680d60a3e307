package rpc

import (
	"context"
	"errors"

	"google.golang.org/grpc/codes"

	"github.com/trunkline/trunkline/bus/codec"
)

// Handle registers h as the handler of method. Register methods before the first Listen.
// Handle returns an error if the server listens already, if the method is registered, or if
// its name is empty or over 255 bytes. Listen returns the same error, so the caller may
// ignore it here.
//
// h must be safe for concurrent use. It returns either a response or an error. An error
// with a gRPC status (status.Error, *[Error]) travels with its status; the error of a
// context has the code Canceled or DeadlineExceeded; any other error has codes.Unknown and
// its text as message. If h returns neither response nor error the caller gets
// codes.Internal. h may keep and change req.
//
// The context of h ends when the caller stops waiting, and when the partition of the
// request is revoked. In the latter case the error of h is not sent: the request runs
// again, here or on another server. FromContext returns the call.
//
// A request may run more than once: when the server ends before it has acknowledged the
// request, or when the response is no longer in the replay cache.
func Handle[Req, Resp any](s *Server, method string, h func(ctx context.Context, req *Req) (*Resp, error)) error {
	return s.handle(NewMethod(method, h))
}

// HandleFunc registers f as the handler of method. f decodes and encodes by itself.
// Otherwise HandleFunc is like [Handle].
func (s *Server) HandleFunc(method string, f Func) error { return s.handle(NewRawMethod(method, f)) }

func (s *Server) handle(m Method) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	ready, err := s.prepare(m)
	if err != nil {
		if !s.listening {
			s.invalid = errors.Join(s.invalid, err)
		}
		return err
	}
	s.methods[m.Name] = ready
	return nil
}

// typed returns a Func that decodes the request for h and encodes its response.
func typed[Req, Resp any](cfg *config, h func(ctx context.Context, req *Req) (*Resp, error)) Func {
	in, out := codec.For(new(Req)), codec.For(new(Resp))
	return func(ctx context.Context, r *Request) (*Response, error) {
		// A request in the default encoding of its type gets a response in the default
		// encoding of its own type. Any other encoding was the choice of the caller, and
		// the response has the same.
		read, write := in, out
		if r.ContentType != "" && r.ContentType != in.ContentType() {
			c, err := cfg.codecs.of(r.ContentType, nil)
			if err != nil {
				return nil, undecodable(err)
			}
			read, write = c, c
		}
		req := new(Req)
		if err := read.Unmarshal(r.Body, req); err != nil {
			return nil, undecodable(err)
		}
		resp, err := h(ctx, req)
		if err != nil {
			return nil, err
		}
		if resp == nil {
			return nil, newError(codes.Internal, "the handler returned neither a response nor an error", nil)
		}
		body, err := write.Marshal(resp)
		if err != nil {
			return nil, newError(codes.Internal, "encode the response: "+err.Error(), err)
		}
		return &Response{ContentType: write.ContentType(), Body: body}, nil
	}
}

// undecodable returns the error of a request whose body cannot be decoded. Such a request
// also goes to the dead-letter topic, if there is one.
func undecodable(err error) *Error {
	e := newError(codes.InvalidArgument, "decode the request: "+err.Error(), err)
	e.undecodable = true
	return e
}
