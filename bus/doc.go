// Package bus publishes and consumes messages over interchangeable transports: Kafka, an
// in-memory log with the semantics of Kafka, and Go channels.
//
//	b, err := bus.Open(ctx, "memory://shop?create=true") // or kafka://host1:9092,host2:9092
//	sub, err := b.Consume(ctx, "orders", handle, bus.Group("billing"), bus.OrderByKey())
//	err = b.Publish("orders", message.NewMessage(watermill.NewUUID(), payload))
//
// A [Bus] is also a watermill Publisher and Subscriber, so watermill's Router, middleware and
// components work on it. Each transport is a separate package: a program imports the packages
// whose URL schemes it uses, or passes a transport to [New]. Each transport reports what it
// supports in its [Capabilities]. A call that needs more returns an error with [CodeUnsupported].
// A bus never ignores an option that its transport does not support.
//
// A service that consumes should use package consumer, the managed consumer. It adds pause and
// resume, retry policies, statistics and probes to a subscription of this package.
//
// # Publishing
//
// A message is acknowledged when the transport's log has it. On Kafka that means all in-sync
// replicas (acks=all). It does not mean that a consumer has received it.
//
// [Bus.Publish] returns when every message has an outcome. The context of each message bounds
// its publishing. If the context has no deadline, the delivery time-out applies, which is 30 s by
// default. If the context ends after the bus passed the message to the transport, the outcome is
// [CodeOutcomeUnknown]: the log may or may not have the message.
//
// Publishing never creates a topic by accident. A program creates topics explicitly
// ([Bus.EnsureTopic], [Bus.CreateTopic]), or opens the bus with [WithCreateTopics].
//
// # Consuming
//
// A message is acknowledged when its handler returns nil. A subscription commits only the
// contiguous acknowledged prefix of a partition, so it never skips a message that is not
// acknowledged. The order in which handlers return does not matter. After a crash the messages
// that were acknowledged and not yet committed are delivered again: delivery is at least once.
//
// If a handler returns an error, the subscription delivers the message again after a back-off.
// This blocks what is ordered after the message: its partition with [OrderByPartition], its key
// with [OrderByKey], nothing with [Unordered]. With an error from [RetryAfter], [DeadLetter],
// [Drop] or [Stop] the handler chooses another result.
//
// Two bounds limit the messages of each partition that a subscription holds. [Window] bounds the
// messages that were delivered and are not acknowledged. [WindowAhead] bounds the messages that
// are acknowledged while an earlier one is not. At either bound the subscription takes no further
// messages of the partition.
//
// A subscription is ready when it has an assignment and the start offset of each partition is
// known: it gets everything that is published afterwards. [Bus.Consume] does not wait for that;
// [Subscription.Ready] does. A group starts at its committed offsets. Without a committed offset
// it starts at the oldest record by default. A subscription without a group starts after the
// newest record by default. After a lost connection a subscription continues with the record after
// the last one that it fetched.
//
// When a partition is revoked, the contexts of its handlers end. The subscription waits until the
// handlers have returned, commits what they acknowledged, and releases the partition.
//
// The subscription publishes a record that cannot be decoded to the dead-letter topic, with the
// key and headers of the record and the cause. Without a dead-letter topic the subscription ends
// with an error. A record without watermill's UUID header is a valid message.
//
// # Brokers that are not available
//
// For a mistake of the program, such as an unknown URL parameter, the bus returns an error at once.
// If the broker is not available, [Open], [New] and [Bus.Consume] return no error: the transport
// connects in the background, with an exponential back-off with jitter. If the broker rejects the
// credentials, Ready and Publish return that error, and the transport tries again slowly.
//
// # Errors
//
// Every operation returns an [*Error], or an error that wraps one. Programs should decide by its
// code, see [CodeOf].
package bus
