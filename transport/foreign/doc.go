// Package foreign makes a transport from any watermill Publisher and Subscriber. With it,
// code on package bus runs on NATS, AMQP, SQL, Redis, and every other system for which
// watermill has a Pub/Sub.
//
//	t, err := foreign.New(publisher, subscriber,
//		foreign.WithName("nats"), foreign.WithCrossProcess(), foreign.WithDurable(), foreign.WithRedelivery())
//	if err != nil {
//		return err
//	}
//	b, err := bus.New(t)
//	if err != nil {
//		return err
//	}
//	defer b.Close()
//
// A watermill Pub/Sub does not report its guarantees, so the transport reports only the
// guarantees that its options declare. Declare only what your Pub/Sub guarantees with its
// current configuration. Package bus relies on the declarations and cannot check them. Run
// testing/transporttest on the transport to see whether they hold.
//
// # URLs
//
// There is no URL scheme, because a Pub/Sub is a value that the program makes. Pass the
// transport to bus.New.
//
// # Message Delivery Semantics
//
// The publisher receives a copy of the message. The copy has the context of the message. Its
// metadata has the key of the message under driver.KeyDirective. A message is acknowledged
// when Publish of the publisher returns nil. What that guarantees depends on the Pub/Sub. An
// error means that the message may or may not have been sent, with two exceptions: a
// *driver.Error keeps its code, and a failure to dial is Unavailable, which means that the
// message was not sent.
//
// Publish of a watermill publisher can block without limit, so each call has its own
// goroutine. [WithPublishConcurrency] bounds the number of concurrent calls for one topic;
// with [WithOrdered] it is one. Messages wait for their turn under their own context, and
// do not delay other topics. If the context ends during the call, the outcome is
// OutcomeUnknown, and the next message waits until the call returns.
//
// A subscription calls Subscribe of the subscriber. If the call fails, the transport
// retries with back-off until it succeeds or a retry cannot help. A watermill message is
// acknowledged when package bus commits its offset, that is, when it and all messages
// before it are acknowledged. When the subscription closes, the transport nacks the
// messages that are not acknowledged. It does not pass on the Nack of a handler, because
// package bus redelivers the message itself. If the subscriber closes its channel, the
// subscription ends with an Unavailable error.
//
// The offset of a record is its number within the subscription. Its timestamp is the time
// at which it was received; the timestamp of the publisher is not transmitted.
//
// A subscriber should end a subscription when its context ends, as watermill requires. A
// subscription that does not end stays open until the transport is closed.
//
// # Health
//
// A watermill Pub/Sub cannot report whether its broker is available. The connection is
// Connecting until a publish or a delivery succeeds, and Connected from then on. Ready
// returns nil. Ping returns Unsupported. Observe outcomes instead, as package liveness
// does.
//
// # What it does not do
//
// There are no partitions and no replay, and a subscription cannot choose its start: the
// subscriber was configured when it was made. Groups need [WithGroupSubscriber]. Creating
// topics needs [WithTopicCreation].
//
// # As
//
// The package has no As function. The program already has the Publisher and the Subscriber.
package foreign
