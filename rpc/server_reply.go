package rpc

import (
	"context"

	"google.golang.org/grpc/codes"

	"github.com/trunkline/trunkline/bus"
	"github.com/trunkline/trunkline/internal/delivery"
	"github.com/trunkline/trunkline/rpc/frame"
	"github.com/trunkline/trunkline/rpc/internal/replay"
)

// reply sends the reply r to the request f, and returns the result of the delivery. If item
// is not nil, reply does not wait for the outcome of publishing the reply. It then returns
// delivery.ErrLater, and the outcome settles item.
func (s *Server) reply(item *delivery.Item, f *frame.Frame, r *replay.Reply) error {
	switch {
	case f.ReplyTo == "" || r.Declined:
		return s.finish(f, r, nil)
	case item == nil:
		return s.finish(f, r, s.publish(f, r))
	}
	p := s.newPendingReply()
	if err := s.encode(&p.frame, p.record, f, r); err != nil {
		s.reuse(p)
		return s.finish(f, r, err)
	}
	p.item, p.request, p.reply = item, f, r
	s.bus.PublishRecord(s.replying, p.record, p.published)
	switch s.pending.add(p) {
	case replyWaiting:
		return delivery.ErrLater
	case replyAbandoned:
		return context.Cause(s.replying)
	}
	err := p.err
	s.reuse(p)
	return s.finish(f, r, err)
}

// replyAndWait sends the reply and waits until the transport's log has it. After an error
// the request is redelivered.
func (s *Server) replyAndWait(f *frame.Frame, r *replay.Reply) error {
	if f.ReplyTo == "" || r.Declined {
		return nil
	}
	return s.handleOutcome(f, r, s.publish(f, r))
}

// finish returns the result of the delivery of f. outcome is that of publishing the reply
// r.
func (s *Server) finish(f *frame.Frame, r *replay.Reply, outcome error) error {
	if err := s.handleOutcome(f, r, outcome); err != nil {
		return err
	}
	if r.DeadLetter != nil && s.subscription.deadLetters {
		return bus.DeadLetter(r.DeadLetter)
	}
	return nil
}

// handleOutcome returns nil if the transport's log has the reply, or if the reply can never
// be published. If the transport rejects the reply, handleOutcome sends a short error
// instead.
func (s *Server) handleOutcome(f *frame.Frame, r *replay.Reply, outcome error) error {
	if outcome == nil {
		return nil
	}
	err := outcome
	switch bus.CodeOf(err) {
	case bus.CodeNotFound:
		s.counters.repliesDropped.Add(1)
		return nil
	case bus.CodeTooLarge, bus.CodeInvalidArgument, bus.CodeUnsupported:
		code := codes.Internal
		switch {
		case r.Status.Code() != codes.OK:
			code = r.Status.Code()
		case bus.CodeOf(err) == bus.CodeTooLarge:
			code = codes.ResourceExhausted
		}
		err = s.publish(f, failure(f, code, "the reply cannot be sent: "+err.Error()))
		switch bus.CodeOf(err) {
		case bus.CodeNotFound, bus.CodeTooLarge, bus.CodeInvalidArgument, bus.CodeUnsupported:
			s.counters.repliesDropped.Add(1)
			s.cfg.logger.Warn("rpc: a reply cannot be sent", "method", f.Method, "caller", f.Caller, "replyTo", f.ReplyTo, "error", err)
			return nil
		}
		if err == nil {
			return nil
		}
	}
	s.counters.repliesFailed.Add(1)
	return err
}

// publish publishes the reply and waits for the outcome, or until the server no longer
// waits for outcomes.
func (s *Server) publish(f *frame.Frame, r *replay.Reply) error {
	record := newRecord()
	if err := s.encode(new(frame.Frame), record, f, r); err != nil {
		return err
	}
	outcome := make(chan error, 1)
	s.bus.PublishRecord(s.replying, record, func(o bus.Outcome) { outcome <- o.Err })
	select {
	case err := <-outcome:
		return err
	case <-s.replying.Done():
		return context.Cause(s.replying)
	}
}

// encode writes the reply r to the request f into out and record.
func (s *Server) encode(out *frame.Frame, record *bus.Record, f *frame.Frame, r *replay.Reply) error {
	*out = frame.Frame{
		Kind: frame.KindReply, ID: f.ID, Stream: f.Stream, Caller: f.Caller, Topic: f.ReplyTo, ReplyPartition: bus.AnyPartition,
		Key: f.Key, Attempt: f.Attempt, ContentType: r.ContentType, Status: r.Status, Metadata: r.Metadata, Body: r.Body,
	}
	if f.Server == frame.AnyServer {
		out.Server = s.id
	}
	if err := s.cfg.wire.Encode(out, record); err != nil {
		return &bus.Error{Code: bus.CodeInvalidArgument, Op: "encode", Topic: f.ReplyTo, Err: err}
	}
	record.Topic, record.Partition = f.ReplyTo, f.ReplyPartition
	return nil
}
