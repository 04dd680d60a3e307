package rpc

import (
	"sync/atomic"
	"time"

	"google.golang.org/grpc/codes"

	"github.com/trunkline/trunkline/bus"
	"github.com/trunkline/trunkline/rpc/frame"
)

// result is what a pending call ends with, or one of the replies that a Gather collects.
// Exactly one of resp and err is set.
type result struct {
	resp   *Response
	err    *Error
	server string // the instance that answered a Gather
}

// resultOf returns the result for the reply f. err is the error from decoding f, or nil.
func resultOf(f *frame.Frame, err error) result {
	r := result{server: f.Server}
	switch {
	case err != nil:
		r.err = newError(codes.Internal, "decode the reply: "+statusOf(err).Message(), err)
	case f.Status != nil:
		r.err = &Error{st: f.Status, remote: true}
	default:
		r.resp = &Response{ContentType: f.ContentType, Metadata: f.Metadata, Body: f.Body}
	}
	return r
}

// pendingCall is one attempt of a call that waits for its result.
//
// The goroutine that removes it from pendingCalls, and no other, ends it by sending to
// done. done has capacity for one result, so the send never blocks. A reply does not remove
// a Gather from pendingCalls: the goroutine of the Gather removes it. Another goroutine
// removes it if the request cannot be published or the client is closed. That goroutine
// then sends to done.
//
// A pendingCall has two holders: the goroutine that made the call, and handleOutcome,
// because the outcome of publishing the request may arrive after the reply. It is reused
// when both have released it.
type pendingCall struct {
	client    *Client
	id        string
	attempt   int
	kind      callKind
	gather    *gathering // for replies
	progress  *progress  // of an asynchronous call
	begun     time.Time  // of the call, not of the attempt
	done      chan result
	published func(bus.Outcome) // handleOutcome, bound once
	holders   atomic.Int32
	request   frame.Frame
	record    *bus.Record // of request

	// The cancel message is sent when both facts are known, in either order: which
	// partition the request is on (stored as partition + 2; 0 is unknown), and that the
	// caller has canceled.
	partitionPlus2 atomic.Int64
	canceled       atomic.Bool
	cancelSent     atomic.Bool
}

func (c *Client) newPendingCall(id string, attempt int, s *callSettings) *pendingCall {
	p, ok := c.reusable.Get().(*pendingCall)
	if !ok {
		p = &pendingCall{client: c, done: make(chan result, 1), record: newRecord()}
		p.published = p.handleOutcome
	}
	p.id, p.attempt, p.kind, p.gather, p.progress, p.begun = id, attempt, s.kind, s.gather, s.progress, s.begun
	p.holders.Store(2)
	return p
}

func (p *pendingCall) release() {
	if p.holders.Add(-1) == 0 {
		p.request, p.gather, p.progress = frame.Frame{}, nil, nil
		resetRecord(p.record)
		p.partitionPlus2.Store(0)
		p.canceled.Store(false)
		p.cancelSent.Store(false)
		p.client.reusable.Put(p)
	}
}

// handleOutcome receives the outcome of publishing the request.
func (p *pendingCall) handleOutcome(o bus.Outcome) {
	defer p.release()
	if o.Err != nil {
		p.record = newRecord() // the transport may still read the old one
	}
	switch {
	case o.Err == nil:
		p.markSent(o.Partition)
	case bus.CodeOf(o.Err) == bus.CodeOutcomeUnknown:
		p.client.counters.outcomeUnknown.Add(1)
		// The server may have the request: keep waiting for the reply or the deadline.
		p.partitionPlus2.Store(int64(bus.AnyPartition) + 2)
		p.sendCancel()
		if p.kind == forOutcome && p.client.pending.remove(p) {
			p.done <- result{err: publishError(o.Err)}
		}
	case p.client.pending.remove(p):
		p.done <- result{err: publishError(o.Err)}
	}
}

func (p *pendingCall) markSent(partition int32) {
	p.partitionPlus2.Store(int64(partition) + 2)
	if p.progress != nil {
		p.progress.markSent()
	}
	if p.kind == forOutcome && p.client.pending.remove(p) {
		p.done <- result{resp: &Response{}}
	}
	p.sendCancel()
}

// cancel sends a cancel message to the server as soon as the outcome of publishing the
// request has arrived. The caller must not have released p. It does nothing for a request
// with an idempotency key, because other callers may wait for the same handler.
func (p *pendingCall) cancel() {
	if p.kind == forOutcome || p.request.IdempotencyKey != "" {
		return
	}
	p.canceled.Store(true)
	p.sendCancel()
}

func (p *pendingCall) sendCancel() {
	if n := p.partitionPlus2.Load(); n != 0 && p.canceled.Load() && p.cancelSent.CompareAndSwap(false, true) {
		p.client.reader.sendCancel(p.client, &p.request, int32(n-2)) //nolint:gosec // n was made from an int32
	}
}
