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
	// LateReplies came after their callers had gone; DuplicateReplies after an earlier
	// reply, or too late to remember which; ForeignReplies were for other clients, or
	// no replies. All were dropped.
	LateReplies, DuplicateReplies, ForeignReplies uint64
	// UndecodableReplies could not be read, headers or body.
	UndecodableReplies uint64
}

// ServerStats are counts since the server was made, and the level of InFlight.
type ServerStats struct {
	// Requests is how many were read, again when they were delivered again.
	Requests uint64
	// Handled is how often a handler ran to its end, Failed how often it returned an
	// error, Panics how often it panicked, which is a failure too.
	Handled, Failed, Panics uint64
	// InFlight is how many requests are being worked on now.
	InFlight int
	// Expired were past their deadline and not run.
	Expired uint64
	// Replayed were answered from the cache, or with the answer to the same request
	// that was being worked on.
	Replayed uint64
	// UnknownMethods were answered Unimplemented.
	UnknownMethods uint64
	// Undecodable could not be read as requests.
	Undecodable uint64
	// Ignored were no requests: cancels, replies, frames of streams.
	Ignored uint64
	// RepliesRefused named a reply topic that the server may not answer to.
	RepliesRefused uint64
	// RepliesDropped could not be published and never will: their topic is gone.
	RepliesDropped uint64
	// RepliesFailed were not published; their requests are tried again.
	RepliesFailed uint64
}

type clientCounters struct {
	calls, failed, retries, outcomeUnknown, late, duplicate, foreign, undecodable atomic.Uint64
}

// Stats returns the counts.
func (c *Client) Stats() ClientStats {
	n := &c.counters
	return ClientStats{
		Calls: n.calls.Load(), Failed: n.failed.Load(), Pending: c.calls.pending(), Retries: n.retries.Load(),
		OutcomeUnknown: n.outcomeUnknown.Load(), LateReplies: n.late.Load(), DuplicateReplies: n.duplicate.Load(),
		ForeignReplies: n.foreign.Load(), UndecodableReplies: n.undecodable.Load(),
	}
}

type serverCounters struct {
	requests, handled, failed, panics, expired, replayed, unknownMethods atomic.Uint64
	undecodable, ignored, repliesRefused, repliesDropped, repliesFailed  atomic.Uint64
	inFlight                                                             atomic.Int64
}

// Stats returns the counts.
func (s *Server) Stats() ServerStats {
	n := &s.counters
	return ServerStats{
		Requests: n.requests.Load(), Handled: n.handled.Load(), Failed: n.failed.Load(), Panics: n.panics.Load(),
		InFlight: int(n.inFlight.Load()), Expired: n.expired.Load(), Replayed: n.replayed.Load(),
		UnknownMethods: n.unknownMethods.Load(), Undecodable: n.undecodable.Load(), Ignored: n.ignored.Load(),
		RepliesRefused: n.repliesRefused.Load(), RepliesDropped: n.repliesDropped.Load(), RepliesFailed: n.repliesFailed.Load(),
	}
}
