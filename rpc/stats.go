package rpc

import "sync/atomic"

// ClientStats are counts since the client was made, and the level of Pending.
// They are read one by one: sums may be off by what happens meanwhile.
type ClientStats struct {
	// Calls is how many were begun, Failed how many of them ended with an error.
	Calls, Failed uint64
	// Pending is how many wait for their replies now.
	Pending int
	// Retries is how many attempts were made beyond each call's first.
	Retries uint64
	// OutcomeUnknown is how many requests may or may not have been sent.
	OutcomeUnknown uint64
	// Cancels is how many notices that a call was cancelled were handed to the transport.
	Cancels uint64
	// LateReplies came after their callers had gone; DuplicateReplies after an earlier
	// reply, or too late to remember which; ForeignReplies were for nobody on this reply
	// topic, or no replies. All were dropped.
	LateReplies, DuplicateReplies, ForeignReplies uint64
	// UndecodableReplies could not be read, headers or body. Those, and foreign ones, that
	// name no caller here are counted by every client that shares the reply topic.
	UndecodableReplies uint64
}

type clientCounters struct {
	calls, failed, retries, outcomeUnknown, cancels, late, duplicate, foreign, undecodable atomic.Uint64
}

// Stats returns the counts.
func (c *Client) Stats() ClientStats {
	n := &c.counters
	return ClientStats{
		Calls: n.calls.Load(), Failed: n.failed.Load(), Pending: c.calls.pending(), Retries: n.retries.Load(),
		OutcomeUnknown: n.outcomeUnknown.Load(), Cancels: n.cancels.Load(),
		LateReplies: n.late.Load(), DuplicateReplies: n.duplicate.Load(),
		ForeignReplies:     n.foreign.Load() + c.reader.foreign.Load(),
		UndecodableReplies: n.undecodable.Load() + c.reader.undecodable.Load(),
	}
}
