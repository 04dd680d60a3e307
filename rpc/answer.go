package rpc

import (
	"context"
	"sync"
	"sync/atomic"

	"google.golang.org/grpc/codes"

	"github.com/trunkline/trunkline/bus"
	"github.com/trunkline/trunkline/internal/delivery"
)

// answer replies to the request that d brought, and has the dead-letter topic get it if
// it could not be read. It returns what becomes of the request, or delivery.ErrLater when that
// is to be told when the reply's outcome is known: no goroutine waits for it.
func (s *Server) answer(it *delivery.Item, f *Frame, a *answer) error {
	switch {
	case f.ReplyTo == "" || a.declined:
		return s.answered(f, a, nil)
	case !s.later:
		return s.answered(f, a, s.publish(f, a))
	}
	r := s.newReply()
	if err := s.encode(&r.frame, r.record, f, a); err != nil {
		s.reuse(r)
		return s.answered(f, a, err)
	}
	r.item, r.request, r.answer = it, f, a
	s.bus.PublishRecord(s.replying, r.record, r.tell)
	switch s.waiting.leave(r) {
	case replyWaits:
		return delivery.ErrLater
	case replyGivenUp:
		return context.Cause(s.replying)
	}
	err := r.err
	s.reuse(r)
	return s.answered(f, a, err)
}

// reply publishes the answer and waits until the transport's log has it. An error asks
// for another try, which finds the answer in the cache.
func (s *Server) reply(f *Frame, a *answer) error {
	if f.ReplyTo == "" || a.declined {
		return nil
	}
	return s.replied(f, a, s.publish(f, a))
}

// answered is what becomes of a request whose reply has this outcome.
func (s *Server) answered(f *Frame, a *answer, outcome error) error {
	if err := s.replied(f, a, outcome); err != nil {
		return err
	}
	if a.letter != nil && s.cfg.deadLetter != "" {
		return bus.DeadLetter(a.letter)
	}
	return nil
}

// replied returns nil when the reply with this outcome is in the log, or never will be:
// then a reply that can be sent has been, if there is one.
func (s *Server) replied(f *Frame, a *answer, outcome error) error {
	if outcome == nil {
		return nil
	}
	err := outcome
	switch bus.CodeOf(err) {
	case bus.CodeNotFound:
		s.counters.repliesDropped.Add(1)
		return nil
	case bus.CodeTooLarge, bus.CodeInvalidArgument, bus.CodeUnsupported:
		// It will be refused again: say so instead, in few words.
		code := codes.Internal
		switch {
		case a.st.Code() != codes.OK:
			code = a.st.Code()
		case bus.CodeOf(err) == bus.CodeTooLarge:
			code = codes.ResourceExhausted
		}
		err = s.publish(f, failure(f, code, "the answer can't be sent: "+err.Error()))
		switch bus.CodeOf(err) {
		case bus.CodeNotFound, bus.CodeTooLarge, bus.CodeInvalidArgument, bus.CodeUnsupported:
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

// publish returns when the reply's outcome is known, or nobody waits for outcomes any
// more.
func (s *Server) publish(f *Frame, a *answer) error {
	r := newRecord()
	if err := s.encode(new(Frame), r, f, a); err != nil {
		return err
	}
	outcome := make(chan error, 1)
	s.bus.PublishRecord(s.replying, r, func(o bus.Outcome) { outcome <- o.Err })
	select {
	case err := <-outcome:
		return err
	case <-s.replying.Done():
		return context.Cause(s.replying)
	}
}

// encode makes reply, and its record, the answer to f.
func (s *Server) encode(reply *Frame, record *bus.Record, f *Frame, a *answer) error {
	*reply = Frame{
		Kind: KindReply, ID: f.ID, Stream: f.Stream, Caller: f.Caller, Topic: f.ReplyTo, ReplyPartition: AnyPartition,
		Key: f.Key, Attempt: f.Attempt, ContentType: a.contentType, Status: a.st, Metadata: a.metadata, Body: a.body,
	}
	if f.Server == AnyServer {
		reply.Server = s.id
	}
	if err := s.cfg.wire.Encode(reply, record); err != nil {
		return &bus.Error{Code: bus.CodeInvalidArgument, Op: "encode", Topic: f.ReplyTo, Err: err}
	}
	record.Topic, record.Partition = f.ReplyTo, f.ReplyPartition
	return nil
}

// outgoingReply is a reply on its way, and what waits for its outcome. It is used again
// once that is known.
//
// It has one owner at a time: the handler's goroutine first, which leaves it, unless the
// outcome is there already, to the outcome or to the end of waiting for outcomes,
// whichever comes first.
type outgoingReply struct {
	server  *Server
	frame   Frame
	record  *bus.Record
	tell    func(bus.Outcome) // told, bound once
	item    *delivery.Item    // of the request; nil without later
	request *Frame
	answer  *answer
	state   atomic.Int32
	err     error // the outcome, when it is told
}

// The states of an outgoingReply.
const (
	replyPublished int32 = iota // it is the handler's goroutine's
	replyWaits                  // it is left
	replyTold                   // its outcome is there
	replyGivenUp                // nobody waits for its outcome any more
)

func (s *Server) newReply() *outgoingReply {
	r, ok := s.replies.Get().(*outgoingReply)
	if !ok {
		r = &outgoingReply{server: s, record: newRecord()}
		r.tell = r.told
	}
	return r
}

// reuse takes r, of which nobody else knows.
func (s *Server) reuse(r *outgoingReply) {
	if r.err != nil {
		return // the transport may still be reading the record
	}
	emptied(r.record)
	r.frame, r.item, r.request, r.answer, r.err = Frame{}, nil, nil, nil, nil
	r.state.Store(replyPublished)
	s.replies.Put(r)
}

// told is told the outcome. It does not block.
func (r *outgoingReply) told(o bus.Outcome) {
	r.err = o.Err
	if r.state.CompareAndSwap(replyPublished, replyTold) || !r.state.CompareAndSwap(replyWaits, replyTold) {
		return
	}
	s, it, f, a, err := r.server, r.item, r.request, r.answer, r.err
	s.waiting.remove(r)
	s.reuse(r)
	if err == nil && a.letter == nil {
		it.Settle(nil)
		return
	}
	go func() { it.Settle(s.answered(f, a, err)) }() // its subscription waits for it
}

// giveUp ends the waiting for outcomes.
func (s *Server) giveUp() {
	for _, it := range s.waiting.end() {
		it.Settle(context.Cause(s.replying))
	}
}

// waitingReplies are those that are left to their outcomes. While mu is held none of them
// is used again: whoever is told an outcome removes its reply first.
type waitingReplies struct {
	mu      sync.Mutex
	replies map[*outgoingReply]struct{}
	ended   bool
}

// leave leaves r to its outcome, unless that is there, or is not waited for any more. It
// returns r's state.
func (w *waitingReplies) leave(r *outgoingReply) (state int32) {
	if r.state.Load() == replyTold {
		return replyTold
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	state = replyWaits
	if w.ended {
		state = replyGivenUp
	}
	if !r.state.CompareAndSwap(replyPublished, state) {
		return replyTold
	}
	if state == replyWaits {
		if w.replies == nil {
			w.replies = map[*outgoingReply]struct{}{}
		}
		w.replies[r] = struct{}{}
	}
	return state
}

func (w *waitingReplies) remove(r *outgoingReply) {
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.replies, r)
}

// end gives up those that wait, and those to come, and returns the deliveries of their
// requests.
func (w *waitingReplies) end() (given []*delivery.Item) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.ended = true
	for r := range w.replies {
		if r.state.CompareAndSwap(replyWaits, replyGivenUp) {
			given = append(given, r.item)
		}
	}
	w.replies = nil
	return given
}
