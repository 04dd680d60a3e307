// Package bus publishes and consumes messages over interchangeable transports.
//
// A [Bus] is a watermill Publisher and Subscriber, so any watermill Router,
// middleware or component works on it. What it adds: handlers instead of channels,
// a window of messages in flight with order by key, commits of nothing but the
// acknowledged prefix, an outcome for each published message, subscriptions that
// say when they are ready, when they ended and why, and hooks that see everything.
//
//	b, err := bus.Open(ctx, "memory://orders?create=true") // or kafka://h1:9092,h2:9092
//	sub, err := b.Consume(ctx, "orders", handle, bus.Group("billing"), bus.OrderByKey())
//	err = b.Publish("orders", msg)
//
// The transports are in packages of their own, imported for their URL scheme or
// given to [New]. What a transport can't do it says in its [Capabilities]; asking
// for it is an error with code [CodeUnsupported], never silently ignored.
//
// # The words, exactly
//
// Acknowledged (publishing): the transport's log has the message (Kafka:
// acks=all). It never means that a consumer saw it.
//
// Publish: submits the whole slice and returns when every message has an outcome.
// Each message's own context is honoured; without a deadline the delivery time-out
// of 30 s applies. A context that ends after submission gives the outcome
// [CodeOutcomeUnknown]: neither sent nor failed.
//
// Acknowledged (consuming): the handler returned nil. Everything below a partition's
// committed position has been acknowledged, so an unacknowledged message is never
// passed over, in whatever order handlers end. What was acknowledged and not yet
// committed is delivered again after a crash: delivery is at least once.
//
// Start: with a group it applies only to partitions without a committed position;
// the default is the oldest record. Without a group the default is the newest,
// resolved to a number before the subscription is ready, and resumed after the last
// record that was fetched when the connection is lost.
//
// Ready (subscription): assigned and positioned. What is published afterwards is
// seen. Subscribing does not wait for a broker; [Subscription.Ready] does.
//
// Window: two bounds for each partition: [Window], messages handed out and not
// acknowledged, and [WindowAhead], messages acknowledged while an earlier one is
// not. Reaching either stops that partition; memory never grows past them.
//
// Order: by partition (one message at a time), by key (one at a time for each key,
// keys side by side), or none.
//
// Nack: the same subscription delivers the message again after a back-off, until it
// is acknowledged or the partition is revoked. It holds up its key, with order by
// key, or its partition, with order by partition.
//
// Later: a handler that waits for nothing but an outcome may return [Later], and have
// [Delivery.Settle] called when it is known. Until then the message is being handled.
//
// Revoke: is for one partition at a time. Its handlers' contexts end with the cause,
// and the partition is let go when they have returned.
//
// Batch: messages of one partition, in the order of the log, handled together
// ([Bus.ConsumeBatches]); handed over when full, when the oldest has been in it for
// [BatchAge], and when reading ends. A [BatchError] names those that were not handled.
//
// Undecodable: a record that can't be made into a message. With a dead-letter topic
// it goes there, with key, headers and cause, and holds up what it is ordered before
// until that is acknowledged. Without one it ends the subscription with the error. A
// record without watermill's UUID header is a valid message.
//
// A broker that is away: faults that only this side has fail at once; an absent
// broker never does. The transport connects in the background with jittered
// exponential back-off. Refused credentials are returned by Ready, Publish and
// subscriptions, and retried slowly.
//
// Topics: are never created by accident. Creation is explicit ([Bus.EnsureTopic],
// [Bus.CreateTopic]) or an option ([WithCreateTopics]).
//
// # Reading the code
//
// publish.go is the way out. consume.go, subscription.go, claim.go, window.go and
// committer.go are the way in, from the outside to the inside: a Subscription
// follows its session's assignments, a claim reads one partition, a window knows
// what of it is acknowledged, a committer makes that known to the transport. delivery.go
// calls handlers, crew.go has those that run side by side, later.go those whose outcome
// comes later; batch_claim.go is a claim that hands over batches.
//
// A service that consumes is better off with package consumer, which starts, stops,
// pauses, retries and reports on top of this.
package bus
