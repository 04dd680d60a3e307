package bus

import "context"

// AdmissionRequest is what an Admission is asked about.
type AdmissionRequest struct {
	// Records are those that the handler is about to be given: one, or a batch. Read
	// them only.
	Records []*Record
	// Draining is closed when the subscription takes nothing new. What is asked about
	// after that was begun before: it may be let in, and should not be held back for
	// long.
	Draining <-chan struct{}
}

// Admission sets what is asked before each delivery to the handler: it returns nil when
// the handler may be begun, and may wait for that. So a consumer is paused, or held to
// a rate, without leaving its group. ctx ends when there is no use in waiting any
// more; an error means that the handler is not begun: the message stays
// unacknowledged, and is tried again after a back-off if the subscription goes on. It
// is called from many goroutines at once. What waits takes up its place in the window
// and among those of InFlight, and none of Concurrency. Records that can't be decoded
// are not asked about. Given several times, all are asked, in their order. Default:
// every delivery is admitted.
func Admission(admit func(ctx context.Context, r AdmissionRequest) error) SubscribeOption {
	return func(c *subscribeConfig) error {
		if admit == nil {
			return invalid("the admission is nil: leave the option out to admit everything")
		}
		first := c.admit
		if first == nil {
			c.admit = admit
			return nil
		}
		c.admit = func(ctx context.Context, r AdmissionRequest) error {
			if err := first(ctx, r); err != nil {
				return err
			}
			return admit(ctx, r)
		}
		return nil
	}
}

// InFlight bounds the messages of the whole subscription that are in flight: from
// before their handler is begun until they are acknowledged, the waiting for the next
// attempt included. A batch counts with all its messages. Default: no bound but the
// windows.
func InFlight(n int) SubscribeOption {
	return func(c *subscribeConfig) error {
		if n < 1 {
			return invalid("the bound on messages in flight is less than 1")
		}
		c.inFlight = n
		return nil
	}
}

// SubscriptionHooks adds observers of this subscription only, after those of the bus.
// A ConnectionHook is told of changes while the subscription lives, not of the state at
// its start; a PublishHook and a PublishTracer are told nothing. One that implements none
// of the hook interfaces is an error.
func SubscriptionHooks(hs ...Hook) SubscribeOption {
	return func(c *subscribeConfig) error {
		for _, h := range hs {
			if !c.hooks.add(h) {
				return invalid("a hook implements none of the hook interfaces")
			}
		}
		return nil
	}
}
