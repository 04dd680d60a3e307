// Package bus publishes and consumes messages over interchangeable transports: Kafka, an
// in-memory log with the semantics of Kafka, and Go channels.
//
//	b, err := bus.Open(ctx, "memory://shop?create=true") // or kafka://host1:9092,host2:9092
//	sub, err := b.Consume(ctx, "orders", handle, bus.Group("billing"), bus.OrderByKey())
//	err = b.Publish("orders", message.NewMessage(watermill.NewUUID(), payload))
//
// A [Bus] is also a watermill Publisher and Subscriber, so watermill's Router, middleware and
// components work on it. The transports are packages of their own: a program imports those
// whose URL schemes it uses, or passes a transport to [New]. What a transport does not support
// is in its [Capabilities]. A call that needs it returns an error with [CodeUnsupported]; it is
// never ignored.
//
// A service that consumes should use package consumer, which starts, stops, pauses, retries and
// reports on top of this package.
//
// # Publishing
//
// A message is acknowledged when the transport's log has it. On Kafka that means all in-sync
// replicas (acks=all). It does not mean that a consumer has received it.
//
// [Bus.Publish] returns when every message has an outcome. The context of each message bounds
// its publishing; without a deadline the delivery time-out of 30 s does. If the context ends
// after the message was passed to the transport, the outcome is [CodeOutcomeUnknown]: the log may
// or may not have the message.
//
// Publishing never creates a topic by accident. A program creates topics explicitly
// ([Bus.EnsureTopic], [Bus.CreateTopic]), or opens the bus with [WithCreateTopics].
//
// # Consuming
//
// A message is acknowledged when its handler returns nil. A subscription commits only the
// contiguous acknowledged prefix of a partition, so it never skips a message that is not
// acknowledged, in whatever order handlers return. Messages that were acknowledged and not yet
// committed are delivered again after a crash: delivery is at least once.
//
// If a handler returns an error, the subscription delivers the message again after a back-off.
// This blocks what is ordered after the message: its partition with [OrderByPartition], its key
// with [OrderByKey], nothing with [Unordered]. [RetryAfter], [DeadLetter], [Drop] and [Stop] make
// errors that ask for something else.
//
// Two bounds limit what a subscription holds of each partition: [Window], the messages that were
// delivered and are not acknowledged, and [WindowAhead], those that are acknowledged while an
// earlier one is not. At either bound the partition stops.
//
// A subscription is ready when it is assigned and positioned: it gets everything that is
// published afterwards. [Bus.Consume] does not wait for that; [Subscription.Ready] does. A group
// starts at its committed offsets, and by default at the oldest record where it has none. A
// subscription without a group starts at the newest record by default. After a lost connection
// it continues with the record after the last one that it fetched.
//
// When a partition is revoked, the contexts of its handlers end, and the subscription releases
// it when they have returned and what they acknowledged is committed.
//
// A record that cannot be decoded goes to the dead-letter topic, with its key, headers and the
// cause. Without a dead-letter topic it ends the subscription with an error. A record without
// watermill's UUID header is a valid message.
//
// # Brokers that are not available
//
// A mistake on this side, such as an unknown URL parameter, is an error at once. A broker that is
// not available never is: the transport connects in the background, with a jittered exponential
// back-off. If the broker rejects the credentials, Ready, Publish and subscriptions return that
// error, and the transport tries again slowly.
//
// # Errors
//
// Every operation returns an [*Error]. Programs decide by its code, see [CodeOf].
package bus
