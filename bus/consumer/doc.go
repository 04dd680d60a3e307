// Package consumer manages the consuming of a topic for a service: it can be started,
// stopped, paused and watched, retries what fails, moves aside what can't be handled,
// and says how it is doing.
//
//	c, err := consumer.New(b, "orders", handle,
//		consumer.Subscribe(bus.Group("billing"), bus.OrderByKey()),
//		consumer.WithWorkers(16),
//		consumer.WithRetry(consumer.Retry{Attempts: 5, Min: 200 * time.Millisecond, Max: 30 * time.Second}),
//		consumer.WithDeadLetterTopic("orders.dead"))
//	if err != nil {
//		return err
//	}
//	defer c.Close(ctx)
//	if err := c.Start(); err != nil {
//		return err
//	}
//
// It works over any transport of package bus, with what that has: consumer groups and
// order by key on Kafka, neither on NATS. Options that the transport can't honour are
// refused by New.
//
// # Start and stop
//
// A consumer is in one [State], and [Consumer.Watch] tells every change. Start and Stop
// are wishes: they return at once, may come in any order and from any goroutine, and the
// last one is what comes to pass. A Stop always drains what it stops, even when a Start
// follows it at once. The broker may be away: the consumer is Starting until it is back.
// [Consumer.Stop] and [Consumer.Close] take nothing new, wait for the handlers that run
// and commit what they did; no wait is longer than the drain time-out, or Close's
// context, unless a handler ignores that its context was cancelled. StopAndWait and
// Close must not be called by a handler of the same consumer: they would wait for it.
//
// What was fetched and not begun when it stops is delivered to whoever comes next in the
// group. Where nobody would get it, without a group or on a transport that does not
// deliver again, it is handled before the consumer is Stopped. What is published to such a
// topic while the consumer is stopped, it does not see.
//
// What passes is tried again: a subscription that ends because a broker was
// unavailable is begun anew, after a jittered exponential back-off of 200 ms to 32 s.
// What doesn't pass is not: a missing topic, a closed bus, a handler that returned
// [bus.Stop]. The consumer is Stopped then, and [Consumer.Err] and the Change say why.
//
// # Handling
//
// A handler's context ends when its partition is taken away, when a drain runs out of
// time, and after the handler time-out. Its return is the acknowledgement; the position
// that is committed never passes a message that is not acknowledged. A panic is a
// failure. What a handler returns:
//
//	nil                      handled
//	an error                 failed: see below
//	bus.RetryAfter(after, err)    handle it again, after this time; counts for no limit
//	bus.DeadLetter(err)      to the dead-letter topic, at once; fails where there is none
//	bus.Drop(err)            acknowledged, not handled
//	bus.Stop(err)            the consumer stops, with this error; the message is not acknowledged
//
// # When handling fails
//
// The message is retried in its place with a jittered exponential back-off
// ([WithRetry]): what is ordered after it, its key or its partition, waits, and others
// go on. When its attempts are used up it goes, whichever of these comes first,
//
//   - through the retry topics ([WithRetryTopics]), and is handled again after each delay,
//     with the same number of attempts in its place,
//   - to the dead-letter topic ([WithDeadLetterTopic]),
//   - nowhere: it blocks, is tried on, and [Stats].Blocked tells.
//
// It is acknowledged when its copy is, so it is never lost, and may come twice. Attempts
// are counted by the member that has the partition, so a rebalance begins anew. A failure
// because the handler's context ended does not count.
//
// # Pause, rate, bounds
//
// [Consumer.Pause] and [WhileReady] hold handlers back without leaving the group,
// [WithRate] bounds messages a second, [WithWorkers] handlers that run at once,
// [WithMaxInFlight] messages handed out and not acknowledged.
//
// # Watching it
//
// [Consumer.Stats] has counters and the lag of each partition; package consumerotel
// measures them. [WithProbe] keeps a service of a probe.Registry up to date. Traces are
// the bus's: see package busotel.
//
// # What it does not do
//
// It does not make delivery exactly-once: handlers see a message again after a crash, a
// rebalance, or a publish whose outcome is not known. It creates no topics, unless the
// bus does. It closes neither the bus nor the registry.
package consumer
