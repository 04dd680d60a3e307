// Package gochannel is a transport inside one process that behaves as if every
// subscription were a buffered Go channel: ordered, bounded, and gone when it is
// read. There is no broker and no log.
//
//	t, err := gochannel.New()
//	if err != nil {
//		return err
//	}
//	b, err := bus.New(t)
//
// It suits the parts of one program that talk to each other, and tests of code
// that needs no replay. Use transport/memory where a test wants what Kafka does:
// partitions, groups, offsets, redelivery.
//
// # URLs
//
// For bus.Open the scheme is "chan":
//
//	chan://               channels of its own
//	chan://name           channels shared by every chan://name of this process
//	chan://name?buffer=64 the same, with another bound (default 1024)
//
// The buffer belongs to the subscriptions made through that URL, so two users of
// one name may have different ones. Topics live as long as somebody subscribes to
// them; closing one bus ends its own subscriptions only. An unknown parameter, a
// path or several names are an InvalidArgument error.
//
// # Message delivery semantics
//
// Any name is a topic at once. A message goes to every session that is subscribed
// to its topic at that moment, and reaches all of them in the same order. It is
// acknowledged when the bounded buffer of each of them has it. With nobody
// subscribed it is acknowledged at once, and gone.
//
// A publish waits, in the order of arrival, until every subscription of its topic
// has room, for as long as the message's context allows. It is all or nothing: a
// message that was given up on was seen by no subscription, so its outcome is
// DeadlineExceeded, Canceled or Closed and never unknown. The slowest subscription
// of a topic therefore sets the topic's pace. Another topic, a Subscribe and Close
// are never held up by it, and nothing grows while it is stalled: no goroutine is
// started for a message or for a subscription.
//
// What was not handled when a subscription closes is gone: there is no redelivery,
// and Commit does nothing. Messages that package bus delivers again after a Nack
// are held by package bus.
//
// A record's timestamp is the one its publisher set, otherwise when it was
// published. Its headers are in no particular order, because metadata is a map.
// The payload is copied once on publishing and shared by all subscriptions.
//
// # What it does not do
//
// No groups, no partitions, no replay, no redelivery, nothing across processes,
// nothing durable. Package bus refuses what asks for them with code Unsupported.
package gochannel
