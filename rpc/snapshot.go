package rpc

import (
	"cmp"
	"slices"
	"time"
)

// PendingCall is a call that waits, as it was at one moment.
type PendingCall struct {
	// Topic, Method and Key are the call's, ID what the server knows it by.
	Topic, Method, Key, ID string
	// Begun is when the call was made, not its present attempt.
	Begun time.Time
	// Deadline is when it ends at the latest.
	Deadline time.Time
	// Attempt is which sending waits, from 1.
	Attempt int
	// Sent says that the transport's log is known to have the request.
	Sent bool
	// OneWay says that it waits for that alone, Gathering that it waits for the answers
	// of many.
	OneWay, Gathering bool
}

// Age is how long the call has been under way.
func (p PendingCall) Age() time.Duration { return time.Since(p.Begun) }

// Pending returns the calls that wait for their replies, or outcomes, now, the oldest
// first, for people who look: it stops the client for a moment. A call that waits for
// the reply reader, or to be made again, is not among them.
func (c *Client) Pending() []PendingCall { return c.calls.snapshot() }

func (c *calls) snapshot() []PendingCall {
	c.mu.Lock()
	list := make([]PendingCall, 0, len(c.waiting))
	for _, p := range c.waiting { // the caller holds what waits: it is not used again
		f := &p.request
		list = append(list, PendingCall{
			Topic: f.Topic, Method: f.Method, Key: f.Key, ID: p.id, Begun: p.begun, Deadline: f.Deadline,
			Attempt: p.attempt, Sent: p.place.Load() != 0, OneWay: p.kind == forOutcome, Gathering: p.gather != nil,
		})
	}
	c.mu.Unlock()
	slices.SortFunc(list, func(a, b PendingCall) int { return cmp.Or(a.Begun.Compare(b.Begun), cmp.Compare(a.ID, b.ID)) })
	return list
}
