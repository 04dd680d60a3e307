package rpc

import "sync/atomic"

// ServerStats are counts since the server was made, and the current value of InFlight. The
// server reads the fields one after another, so the counts may be slightly inconsistent
// with each other.
type ServerStats struct {
	// Requests is the number of messages that the server read, redeliveries included.
	Requests uint64 `json:"requests"`
	// Handled is the number of handlers that have ended, without those whose request is
	// redelivered. Failed is the number of those that returned an error or panicked. Panics
	// is the number of handlers that panicked.
	Handled uint64 `json:"handled"`
	Failed  uint64 `json:"failed"`
	Panics  uint64 `json:"panics"`
	// InFlight is the number of requests that the server works on now.
	InFlight int `json:"in_flight"`
	// Expired is the number of requests that the server did not run because their deadline
	// had passed.
	Expired uint64 `json:"expired"`
	// Canceled is the number of requests that were canceled before or while they ran. The
	// server did not run or did not answer them.
	Canceled uint64 `json:"canceled"`
	// CancelMessages is the number of cancel messages that the server read, including those
	// for requests that it does not have.
	CancelMessages uint64 `json:"cancel_messages"`
	// Refused is the number of requests that the server answered with Unavailable and did
	// not run, because it was shutting down or had lost their partition.
	Refused uint64 `json:"refused"`
	// Replayed is the number of requests that were answered from the replay cache, or with
	// the reply to an equal request that was running.
	Replayed uint64 `json:"replayed"`
	// UnknownMethods is the number of requests for methods that are not registered.
	UnknownMethods uint64 `json:"unknown_methods"`
	// Undecodable is the number of messages that could not be decoded as frames.
	Undecodable uint64 `json:"undecodable"`
	// Ignored is the number of replies and frames of streams that the server read.
	Ignored uint64 `json:"ignored"`
	// RepliesRefused is the number of requests whose reply topic is not allowed.
	RepliesRefused uint64 `json:"replies_refused"`
	// RepliesDropped is the number of replies that can never be published, because their
	// topic does not exist or the transport rejects them.
	RepliesDropped uint64 `json:"replies_dropped"`
	// RepliesFailed is the number of failed publications of replies. Their requests are
	// redelivered.
	RepliesFailed uint64 `json:"replies_failed"`
}

type serverCounters struct {
	requests, handled, failed, panics, expired, replayed, unknownMethods atomic.Uint64
	undecodable, ignored, repliesRefused, repliesDropped, repliesFailed  atomic.Uint64
	canceled, refused, cancelMessages                                    atomic.Uint64
	inFlight                                                             atomic.Int64
}

// Stats returns the current counts.
func (s *Server) Stats() ServerStats {
	n := &s.counters
	return ServerStats{
		Requests: n.requests.Load(), Handled: n.handled.Load(), Failed: n.failed.Load(), Panics: n.panics.Load(),
		InFlight: int(n.inFlight.Load()), Expired: n.expired.Load(), Replayed: n.replayed.Load(),
		Canceled: n.canceled.Load(), CancelMessages: n.cancelMessages.Load(), Refused: n.refused.Load(),
		UnknownMethods: n.unknownMethods.Load(), Undecodable: n.undecodable.Load(), Ignored: n.ignored.Load(),
		RepliesRefused: n.repliesRefused.Load(), RepliesDropped: n.repliesDropped.Load(), RepliesFailed: n.repliesFailed.Load(),
	}
}
