package rpc

import (
	"context"
	"fmt"
	"runtime/debug"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/trunkline/trunkline/bus"
)

// exchange is what one request needs while it is answered, in one allocation.
type exchange struct {
	frame Frame
	ctx   lazyContext
	info  CallInfo
	req   Request
}

// deliver answers one request. The request is acknowledged, by returning nil, only
// when the reply is in the transport's log or will never be.
func (s *Server) deliver(ctx context.Context, d *bus.Delivery) error {
	s.counters.requests.Add(1)
	s.counters.inFlight.Add(1)
	defer s.counters.inFlight.Add(-1)
	x := &exchange{}
	f := &x.frame
	if err := s.cfg.wire.Decode(d.Message, f); err != nil {
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
	if !f.Deadline.IsZero() && !time.Now().Before(f.Deadline.Add(s.cfg.skew)) {
		s.counters.expired.Add(1)
		return nil
	}
	invoke, ok := s.methods[f.Method]
	if !ok {
		s.counters.unknownMethods.Add(1)
		return s.reply(f, failure(f, codes.Unimplemented, "method "+excerpt(f.Method)+" is not served on this topic"))
	}
	a, entry, err := s.cache.begin(ctx, replayKey{f.Caller, f.ID}, f.Attempt)
	switch {
	case err != nil:
		return err
	case a != nil:
		s.counters.replayed.Add(1)
		return s.reply(f, a)
	}
	a, err = s.run(ctx, d, x, invoke)
	if err != nil {
		s.cache.giveUp(entry)
		return err
	}
	s.cache.finish(entry, a)
	return s.reply(f, a)
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
	s.counters.ignored.Add(1)
	if f.Kind >= KindMessage && f.Method != "" && f.ReplyTo != "" && s.cfg.replyTo(f.ReplyTo) {
		return s.reply(f, failure(f, codes.Unimplemented, "this server has no streams"))
	}
	return nil
}

// run runs the handler. Its error is not an answer: the request is not this
// server's any more, and somebody else runs it again.
func (s *Server) run(claim context.Context, d *bus.Delivery, x *exchange, invoke Func) (*answer, error) {
	f, ctx := &x.frame, &x.ctx
	x.info = CallInfo{
		Topic: d.Record.Topic, Method: f.Method, Key: f.Key, Caller: f.Caller, ID: f.ID, Attempt: f.Attempt,
		Deadline: f.Deadline, Metadata: f.Metadata,
	}
	x.req = Request{
		Topic: d.Record.Topic, Method: f.Method, Key: f.Key, ContentType: f.ContentType, Metadata: f.Metadata, Body: f.Body,
	}
	ctx.Context, ctx.deadline, ctx.info = claim, f.Deadline, &x.info
	defer ctx.end()
	resp, err := s.guarded(ctx, invoke, &x.req)
	if err == nil && resp == nil {
		err = newError(codes.Internal, "an interceptor returned neither response nor error", nil)
	}
	if err == nil {
		s.counters.handled.Add(1)
		return &answer{attempt: f.Attempt, contentType: resp.ContentType, metadata: resp.Metadata, body: resp.Body}, nil
	}
	if claim.Err() != nil {
		return nil, context.Cause(claim)
	}
	s.counters.handled.Add(1)
	s.counters.failed.Add(1)
	st := statusOf(err)
	if st.Code() == codes.OK { // an error with the status of none
		st = status.New(codes.Unknown, err.Error())
	}
	return &answer{attempt: f.Attempt, st: st}, nil
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

// reply publishes the answer and waits until the transport's log has it. An error
// asks for another try, which finds the answer in the cache.
func (s *Server) reply(f *Frame, a *answer) error {
	if f.ReplyTo == "" {
		return nil
	}
	err := s.publish(f, a)
	if err == nil {
		return nil
	}
	switch bus.CodeOf(err) {
	case bus.NotFound:
		s.counters.repliesDropped.Add(1)
		return nil
	case bus.TooLarge, bus.InvalidArgument, bus.Unsupported:
		// It will be refused again: say so instead, in few words.
		code := codes.Internal
		switch {
		case a.st.Code() != codes.OK:
			code = a.st.Code()
		case bus.CodeOf(err) == bus.TooLarge:
			code = codes.ResourceExhausted
		}
		err = s.publish(f, failure(f, code, "the answer can't be sent: "+err.Error()))
		switch bus.CodeOf(err) {
		case bus.NotFound, bus.TooLarge, bus.InvalidArgument, bus.Unsupported:
			s.counters.repliesDropped.Add(1)
			s.cfg.logger.Warn("a reply can't be sent", "method", f.Method, "caller", f.Caller, "replyTo", f.ReplyTo, "error", err)
			return nil
		}
		if err == nil {
			return nil
		}
	}
	s.counters.repliesFailed.Add(1)
	return err
}

func (s *Server) publish(f *Frame, a *answer) error {
	r, ok := s.replies.Get().(*outgoingReply)
	if !ok {
		outcome := make(chan error, 1)
		r = &outgoingReply{outcome: outcome, told: func(o bus.Outcome) { outcome <- o.Err }}
	}
	r.frame = Frame{
		Kind: KindReply, ID: f.ID, Stream: f.Stream, Caller: f.Caller, Topic: f.ReplyTo, ReplyPartition: AnyPartition,
		Key: f.Key, Attempt: f.Attempt, ContentType: a.contentType, Status: a.st, Metadata: a.metadata, Body: a.body,
	}
	m, err := s.cfg.wire.Encode(&r.frame)
	if err != nil {
		return &bus.Error{Code: bus.InvalidArgument, Op: "encode", Topic: f.ReplyTo, Err: err}
	}
	if f.ReplyPartition >= 0 {
		bus.SetPartition(m, f.ReplyPartition)
	}
	s.bus.PublishAsync(s.replying, f.ReplyTo, m, r.told)
	select {
	case err := <-r.outcome:
		r.frame = Frame{}
		s.replies.Put(r)
		return err
	case <-s.replying.Done(): // the outcome is still to come: r can't be used again
		return context.Cause(s.replying)
	}
}

// outgoingReply is what publishing a reply needs; used again once the outcome is known.
type outgoingReply struct {
	frame   Frame
	outcome chan error
	told    func(bus.Outcome)
}

func failure(f *Frame, code codes.Code, text string) *answer {
	return &answer{attempt: f.Attempt, st: status.New(code, text)}
}
