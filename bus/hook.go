package bus

import (
	"context"
	"slices"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
)

// Hook observes a bus. Implement whichever of the ...Hook interfaces you care
// about; the others cost nothing. The bus calls hooks itself, on every path, so no
// wrapper can route around them. A hook is called from many goroutines at once,
// must not block, and must not change what it is given.
type Hook any

// PublishHook is told of every message's outcome.
type PublishHook interface{ OnPublish(PublishEvent) }

// DeliveryHook is told whenever a handler has returned.
type DeliveryHook interface{ OnDelivery(DeliveryEvent) }

// SessionHook is told when a subscription is assigned, loses its assignment, and ends.
type SessionHook interface{ OnSession(SessionEvent) }

// ConnectionHook is told of every change of the connection, and of the state at
// the start.
type ConnectionHook interface{ OnConnection(Connection) }

// CommitHook is told of every commit, failed or not.
type CommitHook interface{ OnCommit(CommitEvent) }

// DeadLetterHook is told of every attempt to publish a dead letter.
type DeadLetterHook interface{ OnDeadLetter(DeadLetterEvent) }

// PublishTracer is told before a message is handed to the transport, with the
// message's context. The headers it returns travel with the message, beside its
// metadata, which it does not change; end is told the outcome, exactly once. Either
// may be nil.
type PublishTracer interface {
	StartPublish(ctx context.Context, transport, topic string, m *message.Message) (headers map[string]string, end func(Outcome))
}

// DeliveryTracer is told before a handler is called. The context it returns, which
// must come from ctx, is the handler's and the message's; end is told what the handler
// returned. end may be nil.
type DeliveryTracer interface {
	StartDelivery(ctx context.Context, transport, group string, d *Delivery) (handler context.Context, end func(error))
}

// PublishEvent is one message's outcome.
type PublishEvent struct {
	Transport string
	Topic     string
	Message   *message.Message
	Outcome   Outcome
	// Duration is from Publish until the outcome.
	Duration time.Duration
}

// DeliveryEvent is one return of a handler.
type DeliveryEvent struct {
	Transport string
	Group     string
	Record    *Record
	// Attempt is 1 for the first delivery by this subscription.
	Attempt int
	// Err is what the handler returned.
	Err error
	// Duration is how long the handler ran.
	Duration time.Duration
}

// SessionEvent is a change of a subscription's state.
type SessionEvent struct {
	Transport    string
	Subscription *Subscription
	// Assigned: the subscription holds an assignment.
	Assigned bool
	// Ended: the subscription is over; it is the last event about it.
	Ended bool
	// Cause says why it is not assigned, or why it ended. nil after a plain Close.
	Cause error
}

// CommitEvent is one commit.
type CommitEvent struct {
	Transport string
	Topic     string
	Group     string
	Partition int32
	// Next is the position that was committed: everything below is acknowledged.
	Next int64
	Err  error
}

// DeadLetterEvent is the publishing of one dead letter.
type DeadLetterEvent struct {
	Transport string
	Group     string
	// Topic is the dead-letter topic.
	Topic string
	// Record is the original.
	Record *Record
	// Cause is why it could not be handled.
	Cause error
	// Err is nil if the dead letter is in its topic; the original is acknowledged then.
	// Otherwise the original is tried again.
	Err error
}

// hooks holds the hooks by what they implement.
type hooks struct {
	publish    []PublishHook
	delivery   []DeliveryHook
	session    []SessionHook
	connection []ConnectionHook
	commit     []CommitHook
	deadLetter []DeadLetterHook
	publishes  []PublishTracer
	deliveries []DeliveryTracer
	added      *addedHooks // those of the bus that were added after New; may be nil
}

func (h *hooks) add(hook Hook) bool {
	var known bool
	if x, ok := hook.(PublishHook); ok {
		h.publish, known = append(h.publish, x), true
	}
	if x, ok := hook.(DeliveryHook); ok {
		h.delivery, known = append(h.delivery, x), true
	}
	if x, ok := hook.(SessionHook); ok {
		h.session, known = append(h.session, x), true
	}
	if x, ok := hook.(ConnectionHook); ok {
		h.connection, known = append(h.connection, x), true
	}
	if x, ok := hook.(CommitHook); ok {
		h.commit, known = append(h.commit, x), true
	}
	if x, ok := hook.(DeadLetterHook); ok {
		h.deadLetter, known = append(h.deadLetter, x), true
	}
	if x, ok := hook.(PublishTracer); ok {
		h.publishes, known = append(h.publishes, x), true
	}
	if x, ok := hook.(DeliveryTracer); ok {
		h.deliveries, known = append(h.deliveries, x), true
	}
	return known
}

// ofSubscriptions returns the hooks that a subscription calls, which can be added to
// without changing h: all but those for publishing and the connection, which the bus
// calls.
func (h *hooks) ofSubscriptions() hooks {
	return hooks{
		delivery: slices.Clip(h.delivery), session: slices.Clip(h.session), commit: slices.Clip(h.commit),
		deadLetter: slices.Clip(h.deadLetter), deliveries: slices.Clip(h.deliveries), added: h.added,
	}
}

// observesPublishing reports whether a hook observes the outcome of publishing.
func (h *hooks) observesPublishing() bool {
	a := h.added.load()
	return len(h.publish) > 0 || a != nil && len(a.publish) > 0
}

// observesDeliveries reports whether a hook observes deliveries.
func (h *hooks) observesDeliveries() bool {
	a := h.added.load()
	return len(h.delivery) > 0 || a != nil && len(a.delivery) > 0
}

func (h *hooks) onPublish(e PublishEvent) {
	for _, x := range h.publish {
		x.OnPublish(e)
	}
	if a := h.added.load(); a != nil {
		a.onPublish(e)
	}
}

func (h *hooks) onDelivery(e DeliveryEvent) {
	for _, x := range h.delivery {
		x.OnDelivery(e)
	}
	if a := h.added.load(); a != nil {
		a.onDelivery(e)
	}
}

func (h *hooks) onSession(e SessionEvent) {
	for _, x := range h.session {
		x.OnSession(e)
	}
	if a := h.added.load(); a != nil {
		a.onSession(e)
	}
}

func (h *hooks) onConnection(c Connection) {
	for _, x := range h.connection {
		x.OnConnection(c)
	}
}

func (h *hooks) onCommit(e CommitEvent) {
	for _, x := range h.commit {
		x.OnCommit(e)
	}
	if a := h.added.load(); a != nil {
		a.onCommit(e)
	}
}

func (h *hooks) onDeadLetter(e DeadLetterEvent) {
	for _, x := range h.deadLetter {
		x.OnDeadLetter(e)
	}
	if a := h.added.load(); a != nil {
		a.onDeadLetter(e)
	}
}
