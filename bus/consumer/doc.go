// Package consumer consumes a topic for a service. A [Consumer] can be started, stopped, paused
// and observed. It retries failed messages, moves messages that cannot be handled to retry
// topics and dead-letter topics, and reports its state to probes.
//
//	c, err := consumer.New(b, "orders", handle,
//		bus.Group("billing"), bus.OrderByKey(), bus.Concurrency(16),
//		bus.DeadLetterTopic("orders.dead"), consumer.WithAttempts(3))
//	if err != nil {
//		return err
//	}
//	return c.Run(ctx) // until ctx ends
//
// [Consumer.Run] can also be a part of a trunkline.App: app.Run(ctx, c.Run). A program that
// stops and starts the consumer repeatedly uses [Consumer.Start] and [Consumer.Stop] instead.
//
// The package works with every transport, within the features of the transport: Kafka has
// consumer groups and order by key, Go channels have neither. New rejects options that the
// transport does not support.
//
// # Start and stop
//
// A consumer is in one [State], and [Consumer.Watch] reports every change. Start and Stop return
// at once and can be called in any order, from any goroutine. The last call decides the state:
// Start after Stop drains the consumer first and then starts it again. While the broker is
// unavailable a started consumer is Starting.
//
// Stop, Shutdown, Close and the end of Run drain the consumer: it takes no new messages, waits
// for running handlers, and commits what they acknowledged. The wait is bounded by the drain
// timeout or the context. Shortly before that limit the consumer cancels the contexts of running
// handlers. This documentation calls such handlers cut off. A handler that ignores its context
// can delay the state Stopped or Closed.
//
// Messages that were fetched and not handled before a stop are delivered to the next owner of
// the partition. Without a group, or on a transport that does not deliver again, there is no
// next owner. In that case the consumer handles the fetched messages before it is Stopped, and it
// does not receive messages that are published while it is stopped.
//
// After a temporary error, such as an unavailable broker, the consumer subscribes again, with an
// exponential back-off of 200 ms to 32 s with jitter. After any other error, such as a missing
// topic, a closed bus or a handler that returned [bus.Stop], the consumer is Stopped, and
// [Consumer.Err] returns the error.
//
// # Handling
//
// A handler acknowledges a message by its return:
//
//	nil                          the message is acknowledged
//	an error                     it has failed: see below
//	bus.RetryAfter(delay, err)   it is handled again after the delay, also after the last attempt
//	bus.DeadLetter(err)          it goes to the dead-letter topic at once; without one it is blocked
//	bus.Drop(err)                it is acknowledged although it was not handled
//	bus.Stop(err)                the consumer stops with this error; the message is not acknowledged
//
// A panic is a failure. The consumer never commits an offset beyond a message that is not
// acknowledged. The context of a handler ends when its partition is revoked, when a drain runs
// out of time, and after the handler timeout.
//
// # Failed messages
//
// A failed message is retried in place, with the pauses of [bus.Backoff]. Messages ordered after
// it, by key or by partition, wait; other messages do not. After [WithAttempts] attempts the
// message goes to the first of these:
//
//   - the next retry topic, with [WithRetryTopics]; after its delay the message is handled again,
//     with the same number of attempts in place,
//   - the dead-letter topic, with [bus.DeadLetterTopic],
//   - nowhere: the message is blocked. The consumer goes on retrying it, logs it once, and counts
//     it in [Stats].Blocked.
//
// The bus acknowledges the message when the retry topic or dead-letter topic has the copy. So the
// message is never lost, but that topic can have two copies. Every call of a handler counts as an
// attempt, also one that returns bus.RetryAfter. The owner of the partition counts the attempts,
// and the count starts anew after a rebalance.
//
// # Limits
//
// [bus.Concurrency] limits the handlers that run concurrently, [bus.InFlight] the messages that
// are handled or wait for their next attempt, and [WithRate] the messages per second. The rate
// applies to all topics together. Each other limit applies to the topic and to each retry topic
// separately. [Consumer.Pause] and [WithPauseUnlessReady] stop the calls of handlers, and the
// consumer stays in its group.
//
// # Observing
//
// [Consumer.Stats] returns counters and the lag of each partition. Package consumerotel exports
// them as metrics, and package busotel traces handlers. [WithProbe] reports the state to a
// probe.Registry.
//
// # What it does not do
//
// Delivery is at least once: a handler can get a message again after a crash, a rebalance or a
// publish with an unknown outcome. The package creates no topics; [bus.WithCreateTopics] does. It
// closes neither the bus nor the registry.
package consumer
