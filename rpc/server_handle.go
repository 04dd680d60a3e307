package rpc

import (
	"context"
	"errors"

	"google.golang.org/grpc/codes"

	"github.com/trunkline/trunkline/bus/codec"
)

// Handle registers h as the handler of method. Register methods before the first Listen.
// Handle returns an error if the server already listens, if the method is already
// registered, if h is nil, or if the name does not have 1 to 255 bytes. Unless the server
// already listens, Listen returns the same error, so the caller may ignore it here.
//
// h must be safe for concurrent use. It returns either a response or an error. If the error
// has a gRPC status (status.Error, *[Error]), the server sends that status. The error of a
// context has codes.Canceled or codes.DeadlineExceeded. Any other error has codes.Unknown
// and its text as message. If h returns neither a response nor an error, the caller gets
// codes.Internal. h may keep and change req.
//
// [FromContext] returns the call. Its documentation lists when the context of h ends. If
// the context ends because the partition was revoked, the server does not send the error of
// h: the request runs again, on this server or on another.
//
// A request may run more than once: when the server ends before it has acknowledged the
// request, or when the response is no longer in the replay cache.
func Handle[Req, Resp any](s *Server, method string, h func(ctx context.Context, req *Req) (*Resp, error)) error {
	return s.handle(NewMethod(method, h))
}

// HandleFunc registers f as the handler of method. It is like [Handle], but f decodes the
// request and encodes the response itself.
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
		// If the request is in the default encoding of Req, the response is in the default
		// encoding of Resp. Otherwise the caller has selected the encoding, and the
		// response has the same encoding.
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
