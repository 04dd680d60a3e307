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
	"github.com/trunkline/trunkline/internal/delivery"
)

// exchange is what one request needs while it is answered, in one allocation.
type exchange struct {
	frame Frame
	ctx   lazyContext
	req   Request
	info  *CallInfo // made when somebody first asks; under ctx.mu
}

// callInfo tells of the request. ctx.mu is held.
func (x *exchange) callInfo() *CallInfo {
	if x.info == nil {
		f := &x.frame
		x.info = &CallInfo{
			Topic: f.Topic, Method: f.Method, Key: f.Key, Caller: f.Caller, ID: f.ID, IdempotencyKey: f.IdempotencyKey,
			Attempt: f.Attempt, Deadline: f.Deadline, Metadata: f.Metadata,
		}
	}
	return x.info
}

// deliver answers one request. The request is acknowledged, now or later, only when the
// reply is in the transport's log or will never be. slots bounds how many
// requests are worked on at once.
func (s *Server) deliver(ctx context.Context, d *bus.Delivery, it *delivery.Item, slots chan struct{}) error {
	s.counters.requests.Add(1)
	x := &exchange{}
	f := &x.frame
	if err := s.cfg.wire.Decode(d.Record, f); err != nil {
		return s.undecodable(d, f, err)
	}
	if f.Kind != KindRequest {
		return s.notRequest(f)
	}
	if f.ReplyTo != "" && !s.cfg.replyTo(f.ReplyTo) {
		s.counters.repliesRefused.Add(1)
		s.cfg.logger.WarnContext(ctx, "request dropped: this server does not answer to its reply topic, see ReplyTopics",
			"topic", d.Record.Topic, "method", f.Method, "caller", f.Caller, "replyTo", f.ReplyTo)
		return nil
	}
	m, ok := s.methods[f.Method]
	if !ok {
		s.counters.unknownMethods.Add(1)
		return s.reply(f, failure(f, codes.Unimplemented, "method "+excerpt(f.Method)+" is not served on this topic"))
	}
	key := replayKeyOf(d.Record.Topic, f)
	refused := s.begin(ctx, slots)
	slot := refused == nil
	free := func() {
		if slot {
			slot = false
			<-slots
		}
	}
	defer free()
	s.counters.inFlight.Add(1)
	defer s.counters.inFlight.Add(-1)
	begun := time.Now()
	if !f.Deadline.IsZero() && !begun.Before(f.Deadline.Add(s.cfg.skew)) {
		s.counters.expired.Add(1)
		return nil
	}
	a, entry, err := s.cache.begin(ctx, key, f, &x.ctx, refused == nil)
	switch {
	case err == errNotBegun:
		return s.refuse(f, refused)
	case err == errCanceled:
		s.counters.canceled.Add(1)
		return nil
	case err != nil:
		return err
	case a != nil:
		free()
		s.counters.replayed.Add(1)
		return s.answer(it, f, a)
	}
	a, err = s.run(ctx, d, x, m, &entry.own, begun)
	free() // what is left is the reply
	if err != nil {
		s.cache.giveUp(entry)
		return err
	}
	if s.cache.finish(entry, a) {
		s.counters.canceled.Add(1)
		return nil // nobody waits for it
	}
	return s.answer(it, f, a)
}

// begin waits for a slot. Its error says why the request is not to be begun.
func (s *Server) begin(ctx context.Context, slots chan struct{}) error {
	if s.cfg.atMostOnce && ctx.Err() != nil { // it is nobody else's, for all that
		return context.Cause(ctx)
	}
	select {
	case slots <- struct{}{}:
	default: // a choice among several costs more
		select {
		case slots <- struct{}{}:
		case <-s.stopping:
			return errShutdown
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	if s.isStopping() { // a slot that got free since is for nobody
		<-slots
		return errShutdown
	}
	return nil
}

// refuse is what becomes of a request that is not begun, and why: somebody else gets
// it, or its caller is told that nobody will run it.
func (s *Server) refuse(f *Frame, why error) error {
	if f.ReplyTo == "" || !s.refuses(why) {
		return why
	}
	s.counters.refused.Add(1)
	return s.reply(f, failure(f, codes.Unavailable, "the server is shutting down, or has lost the request's partition: it was not run"))
}

// refuses says whether what the server does not finish is to be answered.
func (s *Server) refuses(why error) bool {
	switch {
	case s.cfg.atMostOnce:
		return true
	case why == nil || !s.isStopping() || bus.CodeOf(why) == bus.CodeRevoked:
		return false // it is delivered again
	default:
		return !s.cfg.leaveOnStop || !s.redelivered()
	}
}

func (s *Server) isStopping() bool {
	select {
	case <-s.stopping:
		return true
	default:
		return false
	}
}

// redelivered says whether a request that is not acknowledged comes to another server.
func (s *Server) redelivered() bool {
	caps := s.bus.Capabilities()
	return caps.Redelivery && caps.Groups && !s.cfg.broadcast
}

// undecodable answers a frame that can't be read if it says enough to be answered;
// otherwise the dead-letter topic gets it, or nobody.
func (s *Server) undecodable(d *bus.Delivery, f *Frame, err error) error {
	s.counters.undecodable.Add(1)
	s.cfg.logger.Warn("a message can't be read as a request", "topic", d.Record.Topic, "partition", d.Record.Partition,
		"offset", d.Record.Offset, "error", err)
	answerable := f.ID != "" && f.Caller != "" && (f.Kind == 0 || f.Kind == KindRequest) && f.ReplyTo != "" && s.cfg.replyTo(f.ReplyTo)
	if answerable {
		code := codes.InvalidArgument
		if st, ok := status.FromError(err); ok {
			code = failing(st.Code())
		}
		if err := s.reply(f, failure(f, code, "the request can't be read: "+statusOf(err).Message())); err != nil {
			return err
		}
	}
	if s.cfg.deadLetter != "" {
		return bus.DeadLetter(err)
	}
	return nil
}

// notRequest acknowledges what is not for a server. A stream's opener is told that
// there are no streams; it alone names a method.
func (s *Server) notRequest(f *Frame) error {
	if f.Kind == KindCancel {
		s.cache.cancel(replayKey{f.Caller, f.ID})
		s.counters.notices.Add(1)
		return nil
	}
	s.counters.ignored.Add(1)
	if f.Kind >= KindMessage && f.Method != "" && f.ReplyTo != "" && s.cfg.replyTo(f.ReplyTo) {
		return s.reply(f, failure(f, codes.Unimplemented, "this server has no streams"))
	}
	return nil
}

// run runs the handler. Its error is not an answer: the request is not this
// server's any more, and somebody else runs it again.
func (s *Server) run(claim context.Context, d *bus.Delivery, x *exchange, m *method, a *answer, begun time.Time) (*answer, error) {
	f, ctx := &x.frame, &x.ctx
	f.Topic = d.Record.Topic
	x.req = Request{
		Topic: d.Record.Topic, Method: f.Method, Key: f.Key, ContentType: f.ContentType, Metadata: f.Metadata, Body: f.Body,
	}
	ctx.Context, ctx.deadline, ctx.call = claim, f.Deadline, x
	m.stats.requests.Add(1)
	m.stats.inFlight.Add(1)
	resp, err := s.guarded(ctx, m.invoke, &x.req)
	ended := time.Now()
	ctx.end()
	m.stats.inFlight.Add(-1)
	m.stats.latency.add(ended.Sub(begun))
	if err == nil && resp == nil {
		err = newError(codes.Internal, "an interceptor returned neither response nor error", nil)
	}
	*a = answer{caller: f.Caller, id: f.ID, attempt: f.Attempt}
	if err == nil {
		s.counters.handled.Add(1)
		a.contentType, a.metadata, a.body = resp.ContentType, resp.Metadata, resp.Body
		return a, nil
	}
	if claim.Err() != nil {
		why := context.Cause(claim)
		if f.ReplyTo == "" && !s.cfg.atMostOnce || !s.refuses(why) {
			return nil, why
		}
		err = newError(codes.Unavailable, "the server was shut down, or lost the request's partition, while it ran: "+CodeOf(err).String(), nil)
	} else if err == errNoAnswer {
		a.declined = true
		return a, nil
	}
	s.counters.handled.Add(1)
	s.counters.failed.Add(1)
	a.st = statusOf(err)
	if a.st.Code() == codes.OK { // an error with the status of none
		a.st = status.New(codes.Unknown, err.Error())
	}
	m.stats.fail(ended, a.st)
	if e, ok := errors.AsType[*Error](err); ok && e.undecodable {
		a.letter = e
	}
	return a, nil
}

// guarded turns a panic into an answer that says nothing of the program.
func (s *Server) guarded(ctx context.Context, invoke Func, req *Request) (resp *Response, err error) {
	defer func() {
		if p := recover(); p != nil {
			s.counters.panics.Add(1)
			s.cfg.logger.ErrorContext(ctx, "a handler panicked", "topic", req.Topic, "method", req.Method,
				"panic", fmt.Sprint(p), "stack", string(debug.Stack()))
			resp, err = nil, newError(codes.Internal, "the handler panicked", nil)
		}
	}()
	return invoke(ctx, req)
}

func failure(f *Frame, code codes.Code, text string) *answer {
	return &answer{attempt: f.Attempt, st: status.New(code, text)}
}
