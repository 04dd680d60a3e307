package rpc

import (
	"context"
	"errors"

	"google.golang.org/grpc/codes"

	"github.com/trunkline/trunkline/bus/codec"
)

// Handle registers h for method. Register before the first Start: later, or a second
// time for a method, is an error, and so is a name that is empty or over 255 bytes.
// Start fails with what a registration failed with, so the error may be left to it.
//
// h runs on many goroutines at once. What it returns is the answer: a response, or
// an error with a status (status.Error, *Error), a context's error, or any other,
// which is codes.Unknown with its text; the text travels to the caller. Neither is
// codes.Internal. ctx is done when the caller stops waiting, or the request is not
// this server's any more; FromContext(ctx) tells about the call. An error that is
// returned after ctx ended for the latter reason is not an answer: the request is
// run again, here or elsewhere. req is h's.
//
// At least once: a request may be run again when a server ends before it has
// acknowledged it, or when its answer is no longer in the replay cache.
func Handle[Req, Resp any](s *Server, method string, h func(ctx context.Context, req *Req) (*Resp, error)) error {
	return s.handle(NewMethod(method, h))
}

// HandleFunc registers f, which decodes and encodes by itself, for method; otherwise
// it is like [Handle].
func (s *Server) HandleFunc(method string, f Func) error { return s.handle(NewRawMethod(method, f)) }

func (s *Server) handle(m Method) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	ready, err := s.prepare(m)
	if err != nil {
		if !s.started {
			s.invalid = errors.Join(s.invalid, err)
		}
		return err
	}
	s.methods[m.Name] = ready
	return nil
}

// typed decodes for h and encodes what it returns.
func typed[Req, Resp any](cfg *config, h func(ctx context.Context, req *Req) (*Resp, error)) Func {
	in, out := codec.For(new(Req)), codec.For(new(Resp))
	return func(ctx context.Context, r *Request) (*Response, error) {
		// What came in the default of its type is answered in the default of the
		// answer's, which may be another; any other codec was the caller's choice.
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
			return nil, newError(codes.Internal, "the handler returned neither response nor error", nil)
		}
		body, err := write.Marshal(resp)
		if err != nil {
			return nil, newError(codes.Internal, "the response can't be encoded: "+err.Error(), err)
		}
		return &Response{ContentType: write.ContentType(), Body: body}, nil
	}
}

// undecodable is the error of a request whose body can't be read: the caller is told,
// and the dead-letter topic, where there is one, gets the request.
func undecodable(err error) *Error {
	e := newError(codes.InvalidArgument, "the request can't be decoded: "+err.Error(), err)
	e.undecodable = true
	return e
}
