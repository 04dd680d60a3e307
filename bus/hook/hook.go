// Package hook observes a bus: every publish, delivery, commit, dead letter, and every
// change of a subscription or of the connection.
//
// A hook is a value that implements one or more of the interfaces of this package. The bus
// checks which ones when it gets the hook; the others cost nothing:
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
// The bus calls hooks itself, on every path, so no wrapper can bypass them. It calls them
// from many goroutines at the same time. A hook must not block, and must not change what
// it gets.
//
// A hook sees what happened. A tracer ([PublishTracer], [DeliveryTracer]) is also called
// before, so that a span can be in the handler's context and in the headers of the message.
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

// Delivery is called each time a handler returns.
type Delivery interface{ OnDelivery(DeliveryEvent) }

// Session is called when a subscription gets its assignment, loses it, and ends.
type Session interface{ OnSession(SessionEvent) }

// Connection is called with the state of the connection when the bus is made, and with
// every change. The calls do not overlap.
type Connection interface{ OnConnection(driver.Connection) }

// Commit is called after every commit, failed ones included.
type Commit interface{ OnCommit(CommitEvent) }

// DeadLetter is called after every attempt to publish a dead letter.
type DeadLetter interface{ OnDeadLetter(DeadLetterEvent) }

// PublishTracer is called before the bus passes a message to the transport, with the
// context of the call. The headers it returns are published with the message, in addition
// to its metadata, which does not change. The bus calls end with the outcome, exactly
// once. Both results may be nil.
type PublishTracer interface {
	StartPublish(ctx context.Context, transport, topic string, m *message.Message) (headers map[string]string, end func(driver.Outcome))
}

// DeliveryTracer is called before a handler. The context it returns must be derived from
// ctx; the handler gets it. The bus calls end with what the handler returned. end may be
// nil.
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

// DeliveryEvent is one return of a handler.
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
	// original; otherwise it tries again.
	Err error
}
