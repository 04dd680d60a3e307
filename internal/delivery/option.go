package delivery

import (
	"context"

	"github.com/trunkline/trunkline/bus/driver"
	"github.com/trunkline/trunkline/bus/hook"
)

// ItemHandler is a handler that may return [ErrLater] and settle the item afterwards.
type ItemHandler func(ctx context.Context, it *Item) error

// SettleLater replaces the handler of the subscription by one that may return [ErrLater].
// It is an InvalidArgument error with batches, OrderByPartition and AtMostOnce.
func SettleLater(h ItemHandler) Option {
	return func(s *Settings) error { s.Settle = h; return nil }
}

// AdmissionRequest is what an Admission decides about.
type AdmissionRequest struct {
	// Records are those that the handler is about to get: one, or a batch. They are
	// read-only.
	Records []*driver.Record
	// Draining is closed when the subscription begins to shut down. A request after that is
	// about records that were fetched before; it should not wait for long.
	Draining <-chan struct{}
}

// Admission sets a function that the subscription calls before each call of the handler.
// The function may wait: this is how a consumer is paused, or limited in its rate, while it
// stays in its group. It returns nil to let the handler begin. If it returns an error the
// handler is not called; the message stays unacknowledged, and the subscription tries again
// after a back-off. ctx ends when waiting has become pointless.
//
// It is called from many goroutines at the same time. A message that waits counts for the
// window and InFlight, and not for Concurrency. It is not called for records that could not
// be decoded. If the option is given more than once, all functions are called in order.
func Admission(admit func(ctx context.Context, r AdmissionRequest) error) Option {
	return func(s *Settings) error {
		first := s.Admit
		if first == nil {
			s.Admit = admit
			return nil
		}
		s.Admit = func(ctx context.Context, r AdmissionRequest) error {
			if err := first(ctx, r); err != nil {
				return err
			}
			return admit(ctx, r)
		}
		return nil
	}
}

// WithHooks adds hooks for this subscription, after those of the bus. A connection hook
// gets changes only, not the state at the start; publish hooks and tracers are not called.
func WithHooks(hooks ...hook.Hook) Option {
	return func(s *Settings) error {
		for _, h := range hooks {
			if !s.Hooks.Add(h) {
				return Invalid("a hook implements no interface of package hook")
			}
		}
		return nil
	}
}

// DrainFetched makes a shutdown deliver the records that were fetched before it began, as
// long as it has time, instead of leaving them to the next member: for a handler that must
// reject work rather than leave it undone. The subscription fetches nothing new. Where
// another subscription gets what is left, this covers the records in the window; where
// nothing would, all that was fetched.
func DrainFetched() Option {
	return func(s *Settings) error { s.DrainFetched = true; return nil }
}

// Reuse lets the subscription use an item again after its handler returned nil: the
// handler and hooks must not keep the delivery or its record. They may keep keys, payloads
// and headers. It saves one allocation per message, and has no effect with AtMostOnce.
func Reuse() Option {
	return func(s *Settings) error { s.Reuse = true; return nil }
}

type existingTopicKey struct{}

// ExistingTopic returns a context with which publishing never creates the topic, even if
// the bus is configured to. A reply must not bring a reply topic back that was deleted.
func ExistingTopic(ctx context.Context) context.Context {
	return context.WithValue(ctx, existingTopicKey{}, true)
}

// MustExist reports whether ctx is from [ExistingTopic].
func MustExist(ctx context.Context) bool { return ctx.Value(existingTopicKey{}) != nil }
