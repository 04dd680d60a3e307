package rpc

import (
	"context"
	"sync"
	"sync/atomic"

	"github.com/trunkline/trunkline/bus"
	"github.com/trunkline/trunkline/internal/delivery"
	"github.com/trunkline/trunkline/rpc/frame"
	"github.com/trunkline/trunkline/rpc/internal/replay"
)

// pendingReply is a reply that is being published, and the item that its outcome
// settles. It is reused when its outcome has arrived.
//
// It has one owner at a time. The first is the goroutine of the handler. If the outcome has
// not arrived when that goroutine calls pendingReplies.add, the next owner is handleOutcome
// or abandonReplies, whichever runs first.
type pendingReply struct {
	server    *Server
	frame     frame.Frame
	record    *bus.Record
	published func(bus.Outcome) // handleOutcome, bound once
	item      *delivery.Item    // of the request
	request   *frame.Frame
	reply     *replay.Reply
	state     atomic.Int32
	err       error // the outcome
}

// The states of a pendingReply.
const (
	replyPublished int32 = iota // the goroutine of the handler owns it
	replyWaiting                // it is in pendingReplies
	replyDone                   // its outcome has arrived
	replyAbandoned              // the server no longer waits for its outcome
)

func (s *Server) newPendingReply() *pendingReply {
	p, ok := s.reusable.Get().(*pendingReply)
	if !ok {
		p = &pendingReply{server: s, record: newRecord()}
		p.published = p.handleOutcome
	}
	return p
}

// reuse returns p to the pool. No other goroutine may hold p.
func (s *Server) reuse(p *pendingReply) {
	if p.err != nil {
		return // the transport may still read the record
	}
	resetRecord(p.record)
	p.frame, p.item, p.request, p.reply = frame.Frame{}, nil, nil, nil
	p.state.Store(replyPublished)
	s.reusable.Put(p)
}

// handleOutcome receives the outcome of publishing the reply. It does not block.
func (p *pendingReply) handleOutcome(o bus.Outcome) {
	p.err = o.Err
	if p.state.CompareAndSwap(replyPublished, replyDone) || !p.state.CompareAndSwap(replyWaiting, replyDone) {
		return
	}
	s, item, f, r, err := p.server, p.item, p.request, p.reply, p.err
	s.pending.remove(p)
	s.reuse(p)
	if err == nil && r.DeadLetter == nil {
		item.Settle(nil)
		return
	}
	go func() { item.Settle(s.finish(f, r, err)) }() // the subscription waits for it
}

// abandonReplies stops waiting for outcomes.
func (s *Server) abandonReplies() {
	for _, item := range s.pending.end() {
		item.Settle(context.Cause(s.replying))
	}
}

// pendingReplies are the replies whose outcomes no goroutine waits for. While mu is held,
// none of them is reused, because handleOutcome removes a reply before it reuses it.
type pendingReplies struct {
	mu      sync.Mutex
	waiting map[*pendingReply]struct{}
	ended   bool
}

// add ends the ownership of the calling goroutine and makes p wait for its outcome, unless
// that has arrived or the server no longer waits for outcomes. It returns the state of p.
func (w *pendingReplies) add(p *pendingReply) (state int32) {
	if p.state.Load() == replyDone {
		return replyDone
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	state = replyWaiting
	if w.ended {
		state = replyAbandoned
	}
	if !p.state.CompareAndSwap(replyPublished, state) {
		return replyDone
	}
	if state == replyWaiting {
		if w.waiting == nil {
			w.waiting = map[*pendingReply]struct{}{}
		}
		w.waiting[p] = struct{}{}
	}
	return state
}

func (w *pendingReplies) remove(p *pendingReply) {
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.waiting, p)
}

// end abandons the replies that wait, and all further ones. It returns the items of their
// requests.
func (w *pendingReplies) end() (abandoned []*delivery.Item) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.ended = true
	for p := range w.waiting {
		if p.state.CompareAndSwap(replyWaiting, replyAbandoned) {
			abandoned = append(abandoned, p.item)
		}
	}
	w.waiting = nil
	return abandoned
}
