// Package hook has the interfaces of hooks, which observe a bus: every publish, delivery, commit
// and dead letter, and every change of a subscription or of the connection.
//
// A hook is a value that implements one or more of the interfaces of this package:
//
//	type failures struct{ n atomic.Int64 }
//
//	func (f *failures) OnPublish(e hook.PublishEvent) {
//		if e.Outcome.Err != nil {
//			f.n.Add(1)
//		}
//	}
//
//	b, err := bus.Open(ctx, url, bus.WithHooks(&failures{}))
//
// The bus calls hooks from many goroutines at the same time. A hook must not block, and must not
// change the values of an event.
//
// The bus calls a hook after something happened. It calls a tracer ([PublishTracer],
// [DeliveryTracer]) before and after, so that a tracer can put a span into the handler's context
// and into the headers of the message.
package hook

import (
	"context"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/trunkline/trunkline/bus/driver"
)

// Hook is a value that implements at least one interface of this package.
type Hook any

// Publish is called with the outcome of every published message.
type Publish interface{ OnPublish(PublishEvent) }

// Delivery is called with the result of each call of a handler.
type Delivery interface{ OnDelivery(DeliveryEvent) }

// Session is called when a subscription gets its assignment, when it loses it, and when it ends.
type Session interface{ OnSession(SessionEvent) }

// Connection is called with the state of the connection when the bus is made, and with
// every change. The calls do not overlap.
type Connection interface{ OnConnection(driver.Connection) }

// Commit is called after every commit, also after one that failed.
type Commit interface{ OnCommit(CommitEvent) }

// DeadLetter is called after every attempt to publish a dead letter.
type DeadLetter interface{ OnDeadLetter(DeadLetterEvent) }

// PublishTracer is called before the bus passes a message to the transport. ctx is the context of
// the call. The bus publishes the returned headers with the message, and does not change the
// metadata of m. It calls end with the outcome, exactly once. Both results may be nil.
type PublishTracer interface {
	StartPublish(ctx context.Context, transport, topic string, m *message.Message) (headers map[string]string, end func(driver.Outcome))
}

// DeliveryTracer is called before each call of a handler. The handler gets the returned context,
// which must be derived from ctx. The bus calls end with the result of the handler. end may be nil.
type DeliveryTracer interface {
	StartDelivery(ctx context.Context, d DeliveryStart) (handler context.Context, end func(error))
}

// PublishEvent is the outcome of one message.
type PublishEvent struct {
	Transport string
	Topic     string
	Message   *message.Message
	Outcome   driver.Outcome
	// Duration is the time from the call until the outcome.
	Duration time.Duration
}

// DeliveryStart is a delivery that is about to begin.
type DeliveryStart struct {
	Transport string
	Group     string
	Record    *driver.Record
	// Attempt is 1 for the first delivery by this subscription.
	Attempt int
}

// DeliveryEvent is the result of one call of a handler.
type DeliveryEvent struct {
	Transport string
	Group     string
	Record    *driver.Record
	// Attempt is 1 for the first delivery by this subscription.
	Attempt int
	// Err is what the handler returned.
	Err error
	// Duration is how long the handler ran.
	Duration time.Duration
}

// Subscription is the subscription of a [SessionEvent]: a *bus.Subscription.
type Subscription interface {
	Topic() string
	Group() string
	Assigned() (bool, error)
}

// SessionEvent is a change of a subscription's state.
type SessionEvent struct {
	Transport    string
	Subscription Subscription
	// Assigned is true while the subscription has an assignment.
	Assigned bool
	// Ended is true in the last event of a subscription.
	Ended bool
	// Cause is why the subscription has no assignment, or why it ended. It is nil after a
	// graceful end.
	Cause error
}

// CommitEvent is one commit.
type CommitEvent struct {
	Transport string
	Topic     string
	Group     string
	Partition int32
	// Next is the committed offset: every record below it is acknowledged.
	Next int64
	Err  error
}

// DeadLetterEvent is one attempt to publish a dead letter.
type DeadLetterEvent struct {
	Transport string
	Group     string
	// Topic is the dead-letter topic.
	Topic string
	// Record is the original.
	Record *driver.Record
	// Cause is why the original could not be handled.
	Cause error
	// Err is nil if the dead letter is in its topic. The subscription then acknowledges the
	// original. Otherwise it tries again, except with AtMostOnce.
	Err error
}
