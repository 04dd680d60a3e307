package rpc

import (
	"context"
	"errors"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/trunkline/trunkline/bus"
	"github.com/trunkline/trunkline/internal/delivery"
	"github.com/trunkline/trunkline/rpc/frame"
	"github.com/trunkline/trunkline/rpc/internal/excerpt"
	"github.com/trunkline/trunkline/rpc/internal/replay"
)

// deliver answers one request. The request is acknowledged when the transport's log has the
// reply, or if there will be no reply. If item is nil, the result of deliver settles the
// delivery. Otherwise deliver may return delivery.ErrLater and settle item later. The
// capacity of slots is the number of handlers of the topic that may run at once.
func (s *Server) deliver(ctx context.Context, d *bus.Delivery, item *delivery.Item, slots chan struct{}) error {
	s.counters.requests.Add(1)
	x := &exchange{}
	f := &x.frame
	if err := s.cfg.wire.Decode(d.Record, f); err != nil {
		return s.handleUndecodable(d, f, err)
	}
	if f.Kind != frame.KindRequest {
		return s.handleOtherKind(f)
	}
	if f.ReplyTo != "" && !s.cfg.allowReplyTo(f.ReplyTo) {
		s.counters.repliesRefused.Add(1)
		s.cfg.logger.WarnContext(ctx, "rpc: request dropped: its reply topic is not allowed, see WithAllowedReplyTopics",
			"topic", d.Record.Topic, "method", f.Method, "caller", f.Caller, "replyTo", f.ReplyTo)
		return nil
	}
	m, ok := s.methods[f.Method]
	if !ok {
		s.counters.unknownMethods.Add(1)
		return s.replyAndWait(f, failure(f, codes.Unimplemented, "method "+excerpt.Of(f.Method)+" is not served on this topic"))
	}
	notBegun := s.acquire(ctx, slots)
	held := notBegun == nil
	release := func() {
		if held {
			held = false
			<-slots
		}
	}
	defer release()
	s.counters.inFlight.Add(1)
	defer s.counters.inFlight.Add(-1)
	begun := time.Now()
	if !f.Deadline.IsZero() && !begun.Before(f.Deadline.Add(s.cfg.skew)) {
		s.counters.expired.Add(1)
		return nil
	}
	r, entry, err := s.cache.Begin(ctx, replay.KeyOf(d.Record.Topic, f), f, &x.ctx.Context, notBegun == nil)
	switch {
	case errors.Is(err, replay.ErrNotBegun):
		return s.handleNotBegun(f, notBegun)
	case errors.Is(err, replay.ErrCanceled):
		s.counters.canceled.Add(1)
		return nil
	case err != nil:
		return err
	case r != nil:
		release()
		s.counters.replayed.Add(1)
		return s.reply(item, f, r)
	}
	r, err = s.run(ctx, d, x, m, &entry.Own, begun)
	release() // only the reply is left to do
	if err != nil {
		s.cache.Abandon(entry)
		return err
	}
	if s.cache.Finish(entry, r) {
		s.counters.canceled.Add(1)
		return nil // the caller no longer waits
	}
	return s.reply(item, f, r)
}

// acquire waits for a slot. Its error is the reason why the request must not be run.
func (s *Server) acquire(ctx context.Context, slots chan struct{}) error {
	if s.subscription.atMostOnce && ctx.Err() != nil { // the request is acknowledged, so no other server gets it
		return context.Cause(ctx)
	}
	select {
	case slots <- struct{}{}:
	default: // a select over several channels costs more
		select {
		case slots <- struct{}{}:
		case <-s.stopping:
			return errShutdown
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	if s.isStopping() { // the slot was released after Shutdown: do not use it
		<-slots
		return errShutdown
	}
	return nil
}

// handleNotBegun handles a request that must not be run because of reason. Either the
// transport redelivers the request, or its caller gets codes.Unavailable.
func (s *Server) handleNotBegun(f *frame.Frame, reason error) error {
	if f.ReplyTo == "" || !s.answersUnfinished(reason) {
		return reason
	}
	s.counters.refused.Add(1)
	return s.replyAndWait(f, failure(f, codes.Unavailable, "the request was not run: the server is shutting down, or has lost the request's partition"))
}

// answersUnfinished reports whether the server answers a request that it does not finish
// because of reason. Otherwise the transport redelivers the request.
func (s *Server) answersUnfinished(reason error) bool {
	switch {
	case s.subscription.atMostOnce:
		return true
	case reason == nil || !s.isStopping() || bus.CodeOf(reason) == bus.CodeRevoked:
		return false
	default:
		return !s.cfg.leaveOnShutdown || !s.subscription.canRedeliver
	}
}

// handleUndecodable answers a request that cannot be decoded, if its id, caller and reply
// topic can be. It sends the record to the dead-letter topic if there is one.
func (s *Server) handleUndecodable(d *bus.Delivery, f *frame.Frame, err error) error {
	s.counters.undecodable.Add(1)
	s.cfg.logger.Warn("rpc: a message cannot be decoded as a request", "topic", d.Record.Topic, "partition", d.Record.Partition,
		"offset", d.Record.Offset, "error", err)
	answerable := f.ID != "" && f.Caller != "" && (f.Kind == 0 || f.Kind == frame.KindRequest) && f.ReplyTo != "" && s.cfg.allowReplyTo(f.ReplyTo)
	if answerable {
		code := codes.InvalidArgument
		if st, ok := status.FromError(err); ok {
			code = notOK(st.Code())
		}
		if err := s.replyAndWait(f, failure(f, code, "decode the request: "+statusOf(err).Message())); err != nil {
			return err
		}
	}
	if s.subscription.deadLetters {
		return bus.DeadLetter(err)
	}
	return nil
}

// handleOtherKind acknowledges a frame that is not a request. Of the frames of a stream
// only the first names a method, and handleOtherKind answers only that one.
func (s *Server) handleOtherKind(f *frame.Frame) error {
	if f.Kind == frame.KindCancel {
		s.cache.Cancel(replay.CallKey(f))
		s.counters.cancelMessages.Add(1)
		return nil
	}
	s.counters.ignored.Add(1)
	if f.Kind >= frame.KindMessage && f.Method != "" && f.ReplyTo != "" && s.cfg.allowReplyTo(f.ReplyTo) {
		return s.replyAndWait(f, failure(f, codes.Unimplemented, "this server does not support streams"))
	}
	return nil
}

// failure returns a reply to f with an error of the server itself.
func failure(f *frame.Frame, code codes.Code, text string) *replay.Reply {
	return &replay.Reply{Attempt: f.Attempt, Status: status.New(code, text)}
}
