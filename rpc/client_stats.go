package rpc

import "sync/atomic"

// ClientStats are counts since the client was made, and the current value of Pending. The
// client reads the fields one after another, so the counts may be slightly inconsistent
// with each other.
type ClientStats struct {
	// Calls is the number of calls, and Failed the number of those that ended with an error.
	Calls, Failed uint64
	// Pending is the number of calls that wait now.
	Pending int
	// Retries is the number of attempts after the first of each call.
	Retries uint64
	// OutcomeUnknown is the number of requests that may or may not have been sent.
	OutcomeUnknown uint64
	// Cancels is the number of cancel messages that the client has queued for sending.
	Cancels uint64
	// LateReplies is the number of replies that the client dropped because their call had
	// ended without a reply.
	LateReplies uint64
	// DuplicateReplies is the number of replies that the client dropped for another reason:
	// an earlier reply had ended the call, the reply was an error of an earlier attempt, or
	// the call ended so long ago that the client no longer stores its id.
	DuplicateReplies uint64
	// ForeignReplies is the number of messages on the reply topic that the client dropped
	// because they are not replies, or not replies to this client.
	ForeignReplies uint64
	// UndecodableReplies is the number of replies whose headers or body could not be
	// decoded.
	//
	// If several clients share a reply topic, each of them also counts the foreign and
	// undecodable replies that do not name one of these clients.
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
