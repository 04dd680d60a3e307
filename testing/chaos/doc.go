// Package chaos breaks a real Kafka cluster while messages flow through it, and
// checks afterwards that nothing was lost, reordered or committed too early.
//
//	cluster := chaos.Cluster{Command: "./cluster", Dir: "/tmp/trunkline-kafka"}
//	run, err := chaos.Start(ctx, chaos.Load{Topic: "orders", Partitions: 8, Addrs: addrs, Open: open})
//	if err != nil {
//		return err
//	}
//	err = run.Step(ctx, "kill node 2", func(ctx context.Context, _ func(string)) error {
//		return cluster.Kill(ctx, 2)
//	})
//	...
//	history, err := run.Stop(ctx)
//	for _, v := range chaos.Check(history) {
//		fmt.Println(v)
//	}
//
// Its tests are the point of it. With the environment that the cluster command prints
// they break that cluster; go test -v prints the figures:
//
//	go build -o /tmp/cluster ./testing/kafkatest/cluster
//	eval "$(/tmp/cluster up)"
//	go test -v -count=1 ./testing/chaos                                    # two minutes
//	go test -v -count=1 -timeout 1h ./testing/chaos -chaos.long -chaos.rounds 3
//	/tmp/cluster down
//
// # The load
//
// Publishers send batches through one bus with the default options, one batch after the
// other, each to keys of one partition, so that a partition's silence is its own. A
// message that failed or whose outcome is unknown is not sent again: the next one of its
// key is. Two groups read, order by key, each with members that have a bus, and so
// connections, of their own; now and then a handler answers with an error, once.
//
// # What is checked
//
// [History] records what publishers and handlers saw, in the order in which it
// happened; the log is read at the end with another client, straight from the brokers.
// [Check] holds them against these rules. "Published before" is within a key.
//
//   - Lost: a message that was acknowledged to its publisher is in the log, where the
//     publisher was told that it is.
//   - Repeated: no message is in the log twice.
//   - Untrue: no message of which the publisher was told that nothing was sent is in the
//     log; nothing is delivered that is not in the log at that place.
//   - Scrambled: a key's messages are in one partition, in the order they were published,
//     those with unknown outcomes included.
//   - Undelivered: every message in the log was handled, without an error, at least once in
//     each group.
//   - Disordered: in each group the first deliveries of a key's messages come in the order
//     of the log. That holds whichever member makes them: a member that lost its
//     partition without knowing it and the one that has it now may both deliver for
//     a while, but each goes through a key record by record from a committed position,
//     so neither is the first to deliver a record before the one ahead of it.
//   - Overlapping: within one claim (a member's holding of a partition, from its assignment
//     until it ends) a record of a key is begun only when the one before it was handled
//     without an error, and none is begun again after that.
//   - Rewound: a claim delivers nothing below a position that the group had committed
//     before the claim's first delivery. What was handled and not yet committed may be
//     delivered again; that is what at-least-once allows, and all it allows.
//   - Premature: when a commit is made, and whether it takes or not, every record of the
//     partition below its position has been handled without an error in that group; so
//     have those below the positions that the brokers hold at the end.
//
// # Silence
//
// [Silences] gives, for each partition, the longest time in which nothing was
// acknowledged to a publisher, and in which no group member handled a message that
// the group had not handled before. Figures depend on the machine; rules do not.
//
// What the brokers themselves take is the floor. With acks=all a partition whose replica
// is gone waits, whoever leads it, until that broker is fenced: a session time-out after
// the active controller heard of it last. When the broker that is lost is the active
// controller, its successor is elected first (the quorum's fetch time-out, and an
// election), and only then begins to count the session time-out. When it is the
// coordinator of a group, the one that follows it first loads the group's positions.
//
// # What it does not do
//
// It does not lose disks, cut brokers off from each other, or turn clocks. Publishers and
// consumers are in one process, which is never killed: a consumer is killed by
// taking its network away for good.
package chaos
