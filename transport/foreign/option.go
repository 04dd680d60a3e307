package foreign

import (
	"fmt"

	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/trunkline/trunkline/bus/driver"
)

const defaultConcurrency = 16

// Option declares what a Pub/Sub does, or changes how it is used.
type Option func(*options) error

type options struct {
	caps        driver.Capabilities
	concurrency int
	group       func(group string) (message.Subscriber, error)
	keepOpen    bool
}

// Named sets the transport's name in errors and events: "nats". Default "foreign".
func Named(name string) Option {
	return func(o *options) error {
		if name == "" {
			return o.invalid("the name is empty")
		}
		o.caps.Name = name
		return nil
	}
}

// Ordered declares that the messages of a topic arrive in the order in which they
// were published. Publishing to a topic is then one message at a time.
func Ordered() Option {
	return func(o *options) error { o.caps.Ordered = true; return nil }
}

// CrossProcess declares that other processes see what is published.
func CrossProcess() Option {
	return func(o *options) error { o.caps.CrossProcess = true; return nil }
}

// Durable declares that what Publish returned nil for survives the end of the
// process.
func Durable() Option {
	return func(o *options) error { o.caps.Durable = true; return nil }
}

// Redelivers declares that what was delivered and not acknowledged when its
// subscription ended is delivered again. Closing a subscription then waits for a
// moment, at most 250 ms, until the subscriber has seen the last acknowledgement,
// which it shows by ending that message's context.
func Redelivers() Option {
	return func(o *options) error { o.caps.Redelivery = true; return nil }
}

// MaxMessageBytes declares the largest message that the publisher takes.
func MaxMessageBytes(n int) Option {
	return func(o *options) error {
		if n < 1 {
			return o.invalid(fmt.Sprintf("the largest message is %d bytes: it must be at least 1", n))
		}
		o.caps.MaxMessageBytes = n
		return nil
	}
}

// CreatesTopics lets topics be created: driver.Admin's CreateTopic calls the
// subscriber's SubscribeInitialize. New fails if it has none. The other methods of
// driver.Admin, which watermill has no counterpart of, stay Unsupported.
func CreatesTopics() Option {
	return func(o *options) error { o.caps.Topics = true; return nil }
}

// GroupSubscriber declares that the Pub/Sub has consumer groups, and how to make a
// subscriber that is a member of one. It is called once for each subscription with
// a group, which owns the subscriber and closes it. An error is tried again with
// back-off, unless it is a *driver.Error whose code says that this can't help.
func GroupSubscriber(open func(group string) (message.Subscriber, error)) Option {
	return func(o *options) error {
		if open == nil {
			return o.invalid("the function that makes a group's subscriber is nil")
		}
		o.group, o.caps.Groups = open, true
		return nil
	}
}

// Concurrency bounds how many messages of one topic are being published at once.
// Default 16. With Ordered it is always 1.
func Concurrency(n int) Option {
	return func(o *options) error {
		if n < 1 {
			return o.invalid(fmt.Sprintf("the concurrency is %d: it must be at least 1", n))
		}
		o.concurrency = n
		return nil
	}
}

// KeepOpen leaves publisher and subscriber open when the transport is closed: they
// are shared with others. By default the transport owns and closes them.
func KeepOpen() Option {
	return func(o *options) error { o.keepOpen = true; return nil }
}

func (o *options) invalid(reason string) error {
	return &driver.Error{Code: driver.CodeInvalidArgument, Op: "open", Transport: o.caps.Name, Reason: reason}
}
