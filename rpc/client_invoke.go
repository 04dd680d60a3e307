package rpc

import (
	"context"
	"maps"
	"time"

	"google.golang.org/grpc/codes"

	"github.com/trunkline/trunkline/bus/codec"
	"github.com/trunkline/trunkline/rpc/internal/lazyctx"
)

// Invoke makes a call whose body is already encoded; [Call] is the typed form. The options
// [Key] and [Header] are added to a copy of req. Every error is an *[Error].
func (c *Client) Invoke(ctx context.Context, req *Request, opts ...CallOption) (*Response, error) {
	if req == nil {
		return nil, invalidOption("Invoke: the request must not be nil")
	}
	x := &outgoingCall{settings: newSettings(), req: *req}
	if err := c.configure(x, opts); err != nil {
		return nil, err.of(req.Method, req.Topic)
	}
	return c.call(ctx, x)
}

// outgoingCall is what one call needs, in one allocation.
type outgoingCall struct {
	settings callSettings
	ctx      lazyctx.Context
	req      Request
}

// outgoing prepares a typed call.
func (c *Client) outgoing(topic, method string, req any, opts []CallOption) (*outgoingCall, error) {
	x := &outgoingCall{settings: newSettings()}
	if err := c.configure(x, opts); err != nil {
		return nil, err.of(method, topic)
	}
	enc := x.settings.codec
	if enc == nil {
		enc = codec.For(req)
	}
	body, err := enc.Marshal(req)
	if err != nil {
		return nil, newError(codes.InvalidArgument, "encode the request: "+err.Error(), err).of(method, topic)
	}
	x.req = Request{Topic: topic, Method: method, ContentType: enc.ContentType(), Body: body}
	return x, nil
}

func (c *Client) configure(x *outgoingCall, opts []CallOption) *Error {
	s := &x.settings
	for _, o := range c.cfg.calls {
		o(s)
	}
	for _, o := range opts {
		o(s)
	}
	if s.err == nil && s.partition >= 0 && !c.bus.Capabilities().Partitions {
		return invalidOption("Partition: topics of this transport have no partitions")
	}
	return s.err
}

// call runs the interceptors under the deadline of the call.
func (c *Client) call(parent context.Context, x *outgoingCall) (*Response, error) {
	c.counters.calls.Add(1)
	req, s, ctx := &x.req, &x.settings, &x.ctx
	req.settings = s
	if s.key != "" {
		req.Key = s.key
	}
	if req.Key == "" {
		req.Key = s.idempotency
	}
	if len(s.metadata) > 0 {
		all := make(Metadata, len(req.Metadata)+len(s.metadata))
		maps.Copy(all, req.Metadata)
		maps.Copy(all, s.metadata)
		req.Metadata = all
	}
	s.begun = time.Now()
	ctx.Context, ctx.Also = parent, c.closing
	switch _, bounded := parent.Deadline(); {
	case s.timeout > 0:
		ctx.Until = s.begun.Add(s.timeout)
	case !bounded:
		ctx.Until = s.begun.Add(c.cfg.timeout)
	}
	defer ctx.End()
	resp, err := c.invoke(ctx, req) //nolint:contextcheck // ctx is a child of parent
	if err == nil && resp != nil {
		return resp, nil
	}
	c.counters.failed.Add(1)
	if err == nil {
		return nil, errNeither.of(req.Method, req.Topic)
	}
	if e, ok := err.(*Error); ok { //nolint:errorlint // a wrapped error keeps the text of its wrapper
		return nil, e.of(req.Method, req.Topic)
	}
	return nil, (&Error{st: statusOf(err), cause: err}).of(req.Method, req.Topic)
}

var errNeither = newError(codes.Internal, "an interceptor returned neither a response nor an error", nil)
