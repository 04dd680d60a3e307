package rpc

import "sync/atomic"

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
	// Canceled were given up by their callers, before or while they ran: they were not
	// begun, or not answered.
	Canceled uint64
	// CancelNotices is how many notices were read and have taken effect, of requests that
	// are not here, or over, too.
	CancelNotices uint64
	// Refused were answered Unavailable without being run, since the server was being
	// shut down.
	Refused uint64
	// Replayed were answered from the cache, or with the answer to the same request
	// that was being worked on.
	Replayed uint64
	// UnknownMethods were answered Unimplemented.
	UnknownMethods uint64
	// Undecodable could not be read as requests.
	Undecodable uint64
	// Ignored were no requests: replies, frames of streams.
	Ignored uint64
	// RepliesRefused named a reply topic that the server may not answer to.
	RepliesRefused uint64
	// RepliesDropped could not be published and never will: their topic is gone.
	RepliesDropped uint64
	// RepliesFailed were not published; their requests are tried again.
	RepliesFailed uint64
}

type serverCounters struct {
	requests, handled, failed, panics, expired, replayed, unknownMethods atomic.Uint64
	undecodable, ignored, repliesRefused, repliesDropped, repliesFailed  atomic.Uint64
	canceled, refused, notices                                           atomic.Uint64
	inFlight                                                             atomic.Int64
}

// Stats returns the counts.
func (s *Server) Stats() ServerStats {
	n := &s.counters
	return ServerStats{
		Requests: n.requests.Load(), Handled: n.handled.Load(), Failed: n.failed.Load(), Panics: n.panics.Load(),
		InFlight: int(n.inFlight.Load()), Expired: n.expired.Load(), Replayed: n.replayed.Load(),
		Canceled: n.canceled.Load(), CancelNotices: n.notices.Load(), Refused: n.refused.Load(),
		UnknownMethods: n.unknownMethods.Load(), Undecodable: n.undecodable.Load(), Ignored: n.ignored.Load(),
		RepliesRefused: n.repliesRefused.Load(), RepliesDropped: n.repliesDropped.Load(), RepliesFailed: n.repliesFailed.Load(),
	}
}
