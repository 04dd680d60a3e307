// Package soak runs managed consumers for a long time and disturbs them constantly. While messages flow,
// it starts, stops, adds, removes and kills members of a group at random, and one handler call in twenty
// fails. Then it checks what happened:
//
//	report, err := soak.Run(ctx, soak.Plan{
//		Topic: "orders", DeadLetterTopic: "orders.dead", Group: "billing", Partitions: 8,
//		Messages: 100_000, Events: 100, Seed: 1, Open: open,
//	})
//	fmt.Println(report)
//
// The tests of this package use it in memory, on an embedded Kafka broker, and on the real cluster that
// TRUNKLINE_KAFKA names. They print the seed. The same seed causes the same events and the same handler
// errors, but the goroutines of two runs interleave differently.
//
//	go test -v ./testing/soak                                      # 5,000 messages each
//	go test -v ./testing/soak -soak.messages 100000 -soak.seed 7
//	TRUNKLINE_KAFKA=127.0.0.1:9092 go test -v ./testing/soak -run Cluster     # 100,000
//	TRUNKLINE_KAFKA=127.0.0.1:9092 go test -v ./testing/soak -run Cluster -timeout 1h -soak.messages 1000000
//
// # The load
//
// One publisher, on its own bus, publishes messages with keys. It waits when too many messages are not
// handled yet, and when it is too far ahead of the events. Each member has its own bus, and so its own
// connections. It has one consumer in the group, which handles messages in order by key. After three failed
// attempts, the consumer publishes the message to the dead-letter topic. One handler call in twenty fails at
// random. One message in five hundred always fails. Some handlers take up to 2 ms.
//
// The events are spread evenly over the messages. An event also occurs when [Plan.MaxInterval] has passed
// since the previous one, so events occur even while no messages flow. The events are:
//
//   - Start or stop a member, which may be running or stopped already.
//   - Start and stop a member several times, from several goroutines at once.
//   - Stop a member and wait. No handler of the member may run after that.
//   - Add a member; or close a member, which waits for its handlers.
//   - Kill a member: it loses its network, or crashes, and cannot leave its group. A new member replaces
//     it.
//
// # What is checked
//
// A message is done when it was handled without an error, or published to the dead-letter topic.
//
//   - Lost: every message is done.
//   - Out of order: a handler starts with a message only when the previous message of the key is done,
//     whichever member had it. A message that was handled but not committed may be delivered again;
//     at-least-once delivery allows this.
//   - Premature commit: at each commit, successful or not, every record below its offset is done.
//   - Uncommitted: at the end, after all members were closed gracefully, the group has committed every
//     partition to its end.
//   - Running: after a stop that waited, or a close, has returned nil, no handler of the member runs.
//   - Stopped: no consumer stops by itself.
//   - Unexplained: a handler gets only records that were published.
//
// Every wait has a time-out, and the run fails when one expires. The tests also check for goroutine leaks.
//
// # What it does not do
//
// It does not break brokers. Package testing/chaos does.
package soak
