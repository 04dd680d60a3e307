package liveness

import (
	"slices"

	"github.com/trunkline/trunkline/bus"
	"github.com/trunkline/trunkline/bus/hook"
)

// subscriptions holds the subscriptions of a bus that have not ended, and those that have
// ended and still count for readiness.
type subscriptions struct {
	allRequired bool
	records     []*subRecord // in the order in which they were first observed
}

type subRecord struct {
	sub   *bus.Subscription
	role  role
	ended bool
	cause error // why it ended
}

// role is whether the program passed a subscription to Require or to Ignore.
type role uint8

const (
	unspecified role = iota // required if allRequired
	required                // passed to Require
	ignored                 // passed to Ignore
)

// requires reports whether readiness depends on r.
func (s *subscriptions) requires(r *subRecord) bool {
	return r.role == required || r.role == unspecified && s.allRequired
}

// required returns copies of the records that readiness depends on.
func (s *subscriptions) required() []subRecord {
	var all []subRecord
	for _, r := range s.records {
		if s.requires(r) {
			all = append(all, *r)
		}
	}
	return all
}

// active returns the subscriptions that have not ended.
func (s *subscriptions) active() []*bus.Subscription {
	var all []*bus.Subscription
	for _, r := range s.records {
		if !r.ended && !hasEnded(r.sub) {
			all = append(all, r.sub)
		}
	}
	return all
}

// follow updates the records after an event of a subscription.
func (s *subscriptions) follow(e hook.SessionEvent) {
	sub := e.Subscription.(*bus.Subscription)
	i := s.find(sub)
	if i < 0 && (!e.Ended || s.allRequired && isFailure(e.Cause)) {
		s.records = append(s.records, &subRecord{sub: sub})
		i = len(s.records) - 1
	}
	if e.Assigned {
		// The assigned subscription replaces failed ones on the same topic and group.
		s.records = slices.DeleteFunc(s.records, func(r *subRecord) bool {
			return r.ended && r.role == unspecified && r.sub.Topic() == sub.Topic() && r.sub.Group() == sub.Group()
		})
	}
	if !e.Ended || i < 0 {
		return
	}
	r := s.records[i]
	r.ended, r.cause = true, e.Cause
	if r.role == required || s.requires(r) && isFailure(r.cause) {
		return
	}
	s.records = slices.Delete(s.records, i, i+1)
}

func (s *subscriptions) require(sub *bus.Subscription) { s.set(sub, required) }

func (s *subscriptions) ignore(sub *bus.Subscription) {
	switch i := s.find(sub); {
	case i >= 0 && (s.records[i].ended || hasEnded(sub)):
		s.records = slices.Delete(s.records, i, i+1)
	case !hasEnded(sub):
		s.set(sub, ignored)
	}
}

// set sets the role of a subscription, and adds the subscription if it has no record yet.
func (s *subscriptions) set(sub *bus.Subscription, role role) {
	i := s.find(sub)
	if i < 0 {
		s.records = append(s.records, &subRecord{sub: sub})
		i = len(s.records) - 1
	}
	s.records[i].role = role
}

func (s *subscriptions) find(sub *bus.Subscription) int {
	return slices.IndexFunc(s.records, func(r *subRecord) bool { return r.sub == sub })
}

func (r *subRecord) fact() subFact {
	f := subFact{sub: r.sub, topic: r.sub.Topic(), ended: r.ended, cause: r.cause}
	switch {
	case f.ended:
	case hasEnded(r.sub): // it had ended before the call of Require, so there was no event
		f.ended, f.cause = true, r.sub.Err()
	default:
		f.assigned, f.cause = r.sub.Assigned()
	}
	return f
}

func hasEnded(sub *bus.Subscription) bool {
	select {
	case <-sub.Done():
		return true
	default:
		return false
	}
}

// isFailure reports whether a subscription that ended with cause has failed. A subscription
// that was closed on purpose has not.
func isFailure(cause error) bool {
	if cause == nil {
		return false
	}
	code := bus.CodeOf(cause)
	return code != bus.CodeClosed && code != bus.CodeCanceled
}
