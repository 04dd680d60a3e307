package rpc

import "sync/atomic"

// ClientStats are counts since the client was made, and the current value of Pending. The
// fields are read one after another, so sums may be off by what happens meanwhile.
type ClientStats struct {
	// Calls is the number of calls, and Failed the number of those that ended with an error.
	Calls, Failed uint64
	// Pending is the number of calls that wait now.
	Pending int
	// Retries is the number of attempts after the first of each call.
	Retries uint64
	// OutcomeUnknown is the number of requests that may or may not have been sent.
	OutcomeUnknown uint64
	// Cancels is the number of cancel messages that were passed to the transport.
	Cancels uint64
	// LateReplies arrived after their call had ended without a reply. The client dropped
	// them.
	LateReplies uint64
	// DuplicateReplies arrived after an earlier reply to the same call, or so late that the
	// client has forgotten the call. The client dropped them.
	DuplicateReplies uint64
	// ForeignReplies are messages on the reply topic that belong to no call of its clients,
	// or that are no replies. The client dropped them.
	ForeignReplies uint64
	// UndecodableReplies are replies whose headers or body could not be decoded.
	//
	// ForeignReplies and UndecodableReplies that name no client here are counted by every
	// client that shares the reply topic.
	UndecodableReplies uint64
}

type clientCounters struct {
	calls, failed, retries, outcomeUnknown, cancels, late, duplicate, foreign, undecodable atomic.Uint64
}

// Stats returns the current counts.
func (c *Client) Stats() ClientStats {
	n := &c.counters
	return ClientStats{
		Calls: n.calls.Load(), Failed: n.failed.Load(), Pending: c.pending.count(), Retries: n.retries.Load(),
		OutcomeUnknown: n.outcomeUnknown.Load(), Cancels: n.cancels.Load(),
		LateReplies: n.late.Load(), DuplicateReplies: n.duplicate.Load(),
		ForeignReplies:     n.foreign.Load() + c.reader.foreign.Load(),
		UndecodableReplies: n.undecodable.Load() + c.reader.undecodable.Load(),
	}
}
