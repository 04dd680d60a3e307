package rpc

import (
	"cmp"
	"slices"
	"time"
)

// PendingCall describes a call that was waiting at the time of [Client.Pending].
type PendingCall struct {
	// Topic, Method and Key are those of the request. ID is the id that the server sees.
	Topic, Method, Key, ID string
	// Begun is when the call was made. Later attempts do not change it.
	Begun time.Time
	// Deadline is when the call ends at the latest.
	Deadline time.Time
	// Attempt is the number of the current attempt, from 1.
	Attempt int
	// Sent reports that the outcome of publishing the request has arrived: the transport's
	// log has the request, or may have it.
	Sent bool
	// OneWay reports that the call waits for that outcome only (see [Send]).
	OneWay bool
	// Gathering reports that the call waits for the answers of several servers.
	Gathering bool
}

// Age returns the time since the call was made.
func (p PendingCall) Age() time.Duration { return time.Since(p.Begun) }

// Pending returns the calls that wait for a reply or an outcome, the oldest first. It is
// for debugging: it blocks the other calls of the client briefly. It does not return calls
// that wait for the reply reader or for their next attempt.
func (c *Client) Pending() []PendingCall { return c.pending.snapshot() }

func (c *pendingCalls) snapshot() []PendingCall {
	c.mu.Lock()
	list := make([]PendingCall, 0, len(c.waiting))
	for _, p := range c.waiting { // its caller holds it, so it is not reused meanwhile
		f := &p.request
		list = append(list, PendingCall{
			Topic: f.Topic, Method: f.Method, Key: f.Key, ID: p.id, Begun: p.begun, Deadline: f.Deadline,
			Attempt: p.attempt, Sent: p.partitionPlus2.Load() != 0, OneWay: p.kind == forOutcome, Gathering: p.gather != nil,
		})
	}
	c.mu.Unlock()
	slices.SortFunc(list, func(a, b PendingCall) int { return cmp.Or(a.Begun.Compare(b.Begun), cmp.Compare(a.ID, b.ID)) })
	return list
}
