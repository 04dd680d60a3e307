package delivery

import (
	"context"

	"github.com/trunkline/trunkline/bus/driver"
	"github.com/trunkline/trunkline/bus/hook"
)

// ItemHandler is a handler that may return [ErrLater] and call [Item.Settle] afterwards.
type ItemHandler func(ctx context.Context, it *Item) error

// SettleLater replaces the handler of the subscription by h, which may return [ErrLater]. With
// batches, OrderByPartition or AtMostOnce, subscribing returns an error with CodeInvalidArgument.
func SettleLater(h ItemHandler) Option {
	return func(s *Settings) error { s.Settle = h; return nil }
}

// AdmissionRequest is the argument of the function of [Admission].
type AdmissionRequest struct {
	// Records are the records of the next call of the handler: one record, or a batch. They are
	// read-only.
	Records []*driver.Record
	// Draining is closed when the subscription begins to shut down. If it is closed, the function
	// should not wait for long.
	Draining <-chan struct{}
}

// Admission sets a function that the subscription calls before each call of the handler.
// The function may block. In this way a consumer pauses, or limits its rate, and stays in its
// group. If the function returns nil, the subscription calls the handler. If it returns an error,
// the message stays unacknowledged, and the subscription tries again after a back-off. ctx ends
// when the handler must not begin any more.
//
// The function must be safe for concurrent use. While it blocks, its message counts for the
// window and for InFlight, but not for Concurrency. The subscription does not call it for records
// that cannot be decoded. If the option is given more than once, the subscription calls all
// functions in order, up to the first that returns an error.
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

// WithHooks adds hooks for this subscription. They are called after those of the bus. A
// connection hook gets changes only, not the state at the start. Publish hooks and publish
// tracers are not called.
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

// DrainFetched makes a shutdown deliver records that were fetched before it began, until the
// shutdown runs out of time. Without it the shutdown leaves them to the next member of the group.
// If another member can get the records that are not in the window yet, the subscription delivers
// only the records in the window. Otherwise it delivers everything that was fetched. In both cases
// it fetches nothing new from the broker.
func DrainFetched() Option {
	return func(s *Settings) error { s.DrainFetched = true; return nil }
}

// Reuse allows the subscription to reuse an item after it is acknowledged. The handler and hooks
// must not keep the delivery or its record. They may keep keys, payloads and headers. Reuse saves
// one allocation per message, and has no effect with AtMostOnce.
func Reuse() Option {
	return func(s *Settings) error { s.Reuse = true; return nil }
}

type existingTopicKey struct{}

// ExistingTopic returns a context with which publishing never creates the topic, even if
// the bus is configured to. It is for replies: a reply must not recreate a deleted reply topic.
func ExistingTopic(ctx context.Context) context.Context {
	return context.WithValue(ctx, existingTopicKey{}, true)
}

// MustExist reports whether ctx is from [ExistingTopic].
func MustExist(ctx context.Context) bool { return ctx.Value(existingTopicKey{}) != nil }
