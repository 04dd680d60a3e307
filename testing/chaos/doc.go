// Package chaos runs publishers and consumer groups on a real Kafka cluster and breaks the cluster
// while they run. Then it checks that nothing was lost, reordered or committed too early:
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
// The tests of this package use it. With the environment that the cluster command prints, they
// break that cluster; go test -v prints the figures:
//
//	go build -o /tmp/cluster ./testing/kafkatest/cluster
//	eval "$(/tmp/cluster up)"
//	go test -v -count=1 ./testing/chaos                                    # two minutes
//	go test -v -count=1 -timeout 1h ./testing/chaos -chaos.long -chaos.rounds 3
//	/tmp/cluster down
//
// # The load
//
// All publishers share one bus with the default options. Each sends one batch after the other, to
// keys of one partition, so that an outage of a partition stops only its own publishers. A publisher
// does not repeat a message that failed or whose outcome is unknown; it continues with the next
// message of the key. Two groups consume, in order by key. Each member has its own bus and so its own
// connections. For one message in 199, the handler returns an error once.
//
// # The rules
//
// [History] records what publishers and handlers observed, in the order in which it happened. At the
// end the run reads the log with another client, directly from the brokers. [Check] then checks these
// rules:
//
//   - Lost: a message that was acknowledged to its publisher is in the log.
//   - Repeated: no message is in the log twice.
//   - WrongOutcome: an acknowledged message is at the place in its outcome, and a message that
//     failed is not in the log.
//   - Unexplained: every record in the log was published, and every delivered record is in the log.
//   - LogOutOfOrder: the messages of a key are in one partition, in the order in which they were
//     published, including those with an unknown outcome.
//   - Undelivered: each group handled every message in the log without an error at least once.
//   - DeliveredOutOfOrder: in each group, the first deliveries of the messages of a key are in the
//     order of the log. This holds across members. A member that has not yet detected the loss of
//     its partition and the new owner may both deliver for a while. But each of them starts at a
//     committed offset and delivers the records of a key one after the other. So neither delivers a
//     record for the first time before the previous record of the key.
//   - Overlapping: within one claim, the handler of a record starts only after the handler of the
//     previous record of the key has succeeded, and a record is not delivered again after that. A
//     claim is the time from the assignment of a partition to a member until its end.
//   - Rewound: a claim delivers no record below the offset that the group had committed before the
//     claim's first delivery. Records that were handled but not committed may be delivered again;
//     at-least-once delivery allows this and no more.
//   - PrematureCommit: at each commit, successful or not, every record of the partition below its
//     offset was handled without an error in that group. The same holds for the offsets that the
//     brokers have at the end.
//
// # Outages
//
// [Outages] returns, for each partition, the longest time without an acknowledgement to a publisher,
// or without a delivery of a message that the group had not handled before. These figures depend on
// the machine; the rules do not.
//
// The brokers themselves determine a minimum. With acks=all, when a replica of a partition is lost,
// the partition waits until the controller fences that broker. The controller does so one session
// time-out after the last heartbeat. If the lost broker is the active controller, the other brokers
// first elect a new one. That takes the fetch time-out of the quorum and an election, and the session
// time-out begins only after it. If the lost broker is the coordinator of a group, the new coordinator
// first loads the committed offsets of the group.
//
// # What it does not do
//
// It does not lose disks, separate brokers from each other, or change clocks. Publishers and
// consumers run in one process, which is never killed: a consumer is killed by permanently closing
// its connections.
package chaos
