package foreign

import (
	"fmt"

	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/trunkline/trunkline/bus/driver"
)

const defaultConcurrency = 16

// Option declares a guarantee of the Pub/Sub, or configures the [Transport].
type Option func(*options) error

type options struct {
	caps               driver.Capabilities
	publishConcurrency int
	openGroup          func(group string) (message.Subscriber, error)
	keepOpen           bool
}

// WithName sets the name of the transport in errors and events, for example "nats". The
// default is "foreign".
func WithName(name string) Option {
	return func(o *options) error {
		if name == "" {
			return o.invalid("the name is empty: name the Pub/Sub, or leave WithName out")
		}
		o.caps.Name = name
		return nil
	}
}

// WithOrdered declares that the messages of a topic arrive in the order of publishing. The
// transport then publishes one message of a topic at a time.
func WithOrdered() Option {
	return func(o *options) error { o.caps.Ordered = true; return nil }
}

// WithCrossProcess declares that messages reach subscribers in other processes.
func WithCrossProcess() Option {
	return func(o *options) error { o.caps.CrossProcess = true; return nil }
}

// WithDurable declares that a message survives the end of the process once Publish has
// returned nil for it.
func WithDurable() Option {
	return func(o *options) error { o.caps.Durable = true; return nil }
}

// WithRedelivery declares that a message which is not acknowledged when its subscription
// ends is delivered again. Closing a subscription then waits, for at most 250 ms, until
// the subscriber has processed the last acknowledgement. A subscriber shows that by ending
// the context of the message.
func WithRedelivery() Option {
	return func(o *options) error { o.caps.Redelivery = true; return nil }
}

// WithMaxMessageBytes declares the size of the largest message that the publisher accepts.
// It must be at least 1. By default there is no limit.
func WithMaxMessageBytes(n int) Option {
	return func(o *options) error {
		if n < 1 {
			return o.invalid(fmt.Sprintf("the largest message must have at least 1 byte, got %d", n))
		}
		o.caps.MaxMessageBytes = n
		return nil
	}
}

// WithTopicCreation declares that the subscriber can create topics: CreateTopic then calls
// SubscribeInitialize of the subscriber. New returns an error if the subscriber does not
// have that method. The other operations on topics stay Unsupported, because watermill has
// no counterpart.
func WithTopicCreation() Option {
	return func(o *options) error { o.caps.Topics = true; return nil }
}

// WithGroupSubscriber declares that the Pub/Sub has consumer groups. open makes a
// subscriber that is a member of a group. The transport calls it once for each
// subscription with a group, and closes the subscriber with the subscription. If open
// returns an error, the transport retries with back-off, unless the error is a
// *driver.Error with a code for which a retry cannot succeed. open must be safe for
// concurrent use, and must not be nil.
func WithGroupSubscriber(open func(group string) (message.Subscriber, error)) Option {
	return func(o *options) error {
		if open == nil {
			return o.invalid("the function of WithGroupSubscriber is nil")
		}
		o.openGroup, o.caps.Groups = open, true
		return nil
	}
}

// WithPublishConcurrency sets how many messages of one topic are published concurrently.
// It must be at least 1. The default is 16. With [WithOrdered] it is always 1.
func WithPublishConcurrency(n int) Option {
	return func(o *options) error {
		if n < 1 {
			return o.invalid(fmt.Sprintf("the publish concurrency must be at least 1, got %d", n))
		}
		o.publishConcurrency = n
		return nil
	}
}

// WithKeepOpen leaves the publisher and the subscriber open when the transport is closed.
// Use it if other code shares them. By default the transport owns and closes them.
func WithKeepOpen() Option {
	return func(o *options) error { o.keepOpen = true; return nil }
}

func (o *options) invalid(reason string) error {
	return &driver.Error{Code: driver.CodeInvalidArgument, Op: "open", Transport: o.caps.Name, Reason: reason}
}
