// Package soak runs the managed consumer for long, and lets nothing go well: members of a
// group are started, stopped, joined, let go and killed at random while messages flow and a
// handler in twenty fails. Then it holds what happened against the rules:
//
//	report, err := soak.Run(ctx, soak.Plan{
//		Topic: "orders", DeadLetters: "orders.dead", Group: "billing", Partitions: 8,
//		Messages: 100_000, Events: 100, Seed: 1, Open: open,
//	})
//	fmt.Println(report)
//
// Its tests are the point of it: in memory, on an embedded Kafka broker, and on the real
// cluster that TRUNKLINE_KAFKA names. They print the seed; the same seed makes the same
// plan, and what goroutines make of it is never quite the same.
//
//	go test -v ./testing/soak                                      # 5,000 messages each
//	go test -v ./testing/soak -soak.messages 100000 -soak.seed 7
//	TRUNKLINE_KAFKA=127.0.0.1:9092 go test -v ./testing/soak -run Cluster     # 100,000
//	TRUNKLINE_KAFKA=127.0.0.1:9092 go test -v ./testing/soak -run Cluster -timeout 1h -soak.messages 1000000
//
// # The load
//
// One publisher, on a bus of its own, sends each message with a key, and stays within a
// bound ahead of what was handled, and of what is to happen. Each member has a bus, and so connections, of its own,
// and a consumer in the group, order by key, which tries a message three times in place
// before it goes to the dead-letter topic. One handler in twenty fails, at random; one
// message in five hundred can't be handled at all. Some handlers take up to 2 ms.
//
// An event comes when the share of messages that it stands for was handled, and after
// [Plan.Pace] at the latest: so they also come while nothing flows. It is one of these:
//
//   - start or stop a member that may be started or stopped already; several in a row,
//     back to back, from several goroutines
//   - stop a member and wait: no handler of it may run when that returns
//   - a new member joins; a member leaves, drained
//   - a member is killed: it loses its network, or crashes, leaves in no order, and is
//     replaced
//
// # What is checked
//
//   - Lost: every message was handled without an error, or is in the dead-letter topic.
//   - Skipped: a message is begun only when the one before it of its key was handled or
//     dead-lettered, whoever begins it: nothing is overtaken, and order by key is kept. A
//     message that was handled and not committed may come again; that is what
//     at-least-once allows.
//   - Premature: at each commit, whether it takes or not, everything below its position was
//     handled or dead-lettered.
//   - Uncommitted: in the end, with all members closed in order, the group has committed
//     every partition to its end.
//   - Running: when a stop that waited has returned nil, no handler runs; the same for a
//     close.
//   - Stuck: every wait has a bound, and reaching one fails the run.
//
// The tests also look for goroutines that are left.
//
// # What it does not do
//
// It breaks members, not brokers: testing/chaos does that.
package soak
