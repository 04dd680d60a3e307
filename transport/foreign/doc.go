// Package foreign makes a transport of any watermill Publisher and Subscriber, so
// that what is built on package bus runs on NATS, AMQP, SQL, Redis, and whatever
// else watermill has a Pub/Sub for.
//
//	t, err := foreign.New(publisher, subscriber,
//		foreign.Named("nats"), foreign.CrossProcess(), foreign.Durable(), foreign.Redelivers())
//	if err != nil {
//		return err
//	}
//	b, err := bus.New(t)
//
// A watermill Pub/Sub does not say what it guarantees, so nothing is promised
// unless an option declares it. Declare what your Pub/Sub, configured as it is,
// truly does: package bus relies on it and can't check it. Running
// testing/transporttest on the result shows whether it holds.
//
// # Message delivery semantics
//
// The publisher is given a copy of the message, which carries its context and, in
// its metadata under driver.KeyDirective, its key. A publish is acknowledged when
// the publisher's Publish returned nil: what that means is the publisher's affair.
// Its error means that the message may or may not have been sent, unless it says
// more by being a *driver.Error, or a failure to dial, which is Unavailable.
//
// A watermill Publish can block for any time. Each runs on a goroutine; of one topic
// at most as many at once as Concurrency allows, one with Ordered. Publishers to
// that topic wait for their turn under the message's context, others don't notice.
// A message whose context ends while Publish is under way has the outcome
// OutcomeUnknown, and its turn is over only when Publish returns.
//
// A subscription is one call of the subscriber's Subscribe, tried again with
// back-off while it fails. A message is acknowledged to it when package bus commits
// its position, that is, when it and everything before it was acknowledged; what is
// not acknowledged when the subscription closes is nacked. A handler's Nack is not
// passed on: package bus delivers the message again itself. When the subscriber
// closes its channel the subscription ends with an error that says so.
//
// A record's offset is its number in the subscription, and its timestamp is when it
// was received. A timestamp that the publisher set is not carried.
//
// The subscriber should end a subscription with its context, as watermill asks. One
// that does not keeps it until the transport is closed.
//
// # Health
//
// A watermill Pub/Sub can't be asked whether its broker is there. The connection is
// Connecting until the first publish or delivery that worked, then Connected for
// ever; Ready says yes; Ping is Unsupported. Watch outcomes instead, as package
// liveness does.
//
// # What it does not do
//
// No partitions, no replay, no choice of where to start: those are fixed when the
// subscriber is made. Groups only with GroupSubscriber, topics are created only
// with CreatesTopics.
package foreign
