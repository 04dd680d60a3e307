package rpc

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/trunkline/trunkline/bus"
	"github.com/trunkline/trunkline/rpc/internal/replay"
)

// errDeclined is what a discovery handler returns if the server must send no reply.
var errDeclined = newError(codes.Unimplemented, "no reply", nil)

// run runs the handler, and writes its reply into r. deliveryCtx is the context of the
// delivery. If run returns an error, there is no reply, and the transport redelivers the
// request, perhaps to another server.
func (s *Server) run(deliveryCtx context.Context, d *bus.Delivery, x *exchange, m *method, r *replay.Reply, begun time.Time) (*replay.Reply, error) {
	f, ctx := &x.frame, &x.ctx
	f.Topic = d.Record.Topic
	x.req = Request{
		Topic: d.Record.Topic, Method: f.Method, Key: f.Key, ContentType: f.ContentType, Metadata: f.Metadata, Body: f.Body,
	}
	ctx.Context.Context, ctx.Until, ctx.exchange = deliveryCtx, f.Deadline, x
	m.stats.requests.Add(1)
	m.stats.inFlight.Add(1)
	resp, err := s.invokeSafely(ctx, m.invoke, &x.req) //nolint:contextcheck // ctx is a child of deliveryCtx
	ended := time.Now()
	ctx.End()
	m.stats.inFlight.Add(-1)
	m.stats.latency.add(ended.Sub(begun))
	if err == nil && resp == nil {
		err = errNeither
	}
	*r = replay.Reply{Caller: f.Caller, ID: f.ID, Attempt: f.Attempt}
	if err == nil {
		s.counters.handled.Add(1)
		r.ContentType, r.Metadata, r.Body = resp.ContentType, resp.Metadata, resp.Body
		return r, nil
	}
	if deliveryCtx.Err() != nil {
		why := context.Cause(deliveryCtx)
		if f.ReplyTo == "" && !s.subscription.atMostOnce || !s.answersUnfinished(why) {
			return nil, why
		}
		err = newError(codes.Unavailable, "the handler was interrupted, because the server is shutting down or has lost the request's partition: "+CodeOf(err).String(), nil)
	} else if errors.Is(err, errDeclined) {
		r.Declined = true
		return r, nil
	}
	s.counters.handled.Add(1)
	s.counters.failed.Add(1)
	r.Status = statusOf(err)
	if r.Status.Code() == codes.OK { // err has a status, and it is OK
		r.Status = status.New(codes.Unknown, err.Error())
	}
	m.stats.fail(ended, r.Status)
	if e, ok := errors.AsType[*Error](err); ok && e.undecodable {
		r.DeadLetter = e
	}
	return r, nil
}

// invokeSafely recovers a panic, logs its stack, and returns an error that does not contain
// the panic value.
func (s *Server) invokeSafely(ctx context.Context, invoke Func, req *Request) (resp *Response, err error) {
	defer func() {
		if p := recover(); p != nil {
			s.counters.panics.Add(1)
			s.cfg.logger.ErrorContext(ctx, "rpc: a handler panicked", "topic", req.Topic, "method", req.Method,
				"panic", fmt.Sprint(p), "stack", string(debug.Stack()))
			resp, err = nil, errPanicked
		}
	}()
	return invoke(ctx, req)
}
