// Package kafkatest gives a program a Kafka to try things on: an embedded
// broker in its own process, and a dialer that takes the network away.
//
//	b, err := kafkatest.Start(ctx, kafkatest.Topics(8, "orders"))
//	if err != nil {
//		return err
//	}
//	defer b.Close()
//	client, err := sarama.NewClient(b.Addrs(), sarama.NewConfig())
//
// Tests use package kafkatb, which does this for a testing.TB and runs the
// same test against a real cluster on demand; command cluster starts such a
// cluster on this machine.
//
// # Faults
//
// A client whose connections come from a [Dialer] can be cut off and given its
// network back. Connections fail as the operating system makes them fail, so
// code that classifies errors by type sees what it would see in production.
//
// # What the embedded broker is
//
// It is franz-go's kfake: it speaks the protocol of Kafka 4, keeps topics,
// offsets, groups and transactions in memory, and forgets all of it on Close.
// What these tests have seen work with sarama 1.61.1 at protocol versions 2.8,
// 3.3 and 3.6: idempotent and transactional producing, read-committed
// consuming, partition consumers, consumer groups with the range, sticky and
// cooperative-sticky strategies, creating, growing and deleting topics.
//
// With topic creation off, which is the default here, a request for an unknown
// topic is answered UNKNOWN_TOPIC_OR_PARTITION, as by a broker with
// auto.create.topics.enable=false. A client tries again before it believes
// that: sarama's defaults make a publish to an unknown or deleted topic fail
// after 0.8 to 1.6 s.
//
// # What it is not
//
//   - Nothing is replicated. There is one copy of a record, no in-sync set, no
//     follower that lags; acks=all costs what acks=1 costs, min.insync.replicas
//     is never missed and a leader is never elected after a loss. A broker
//     can't be killed or paused on its own.
//   - Topic deletion is at once and complete. A real cluster deletes in the
//     background, and its brokers learn of it one by one.
//   - Metadata is the same on every broker at every moment; with a real
//     cluster a topic just created is unknown to some of them for a while.
//   - Requests are handled one at a time in memory, without throttling, disk or
//     quotas, and the group coordinator adds no initial rebalance delay: its
//     speed and its timing say nothing about a real broker's.
//   - Transactions complete within their request: CONCURRENT_TRANSACTIONS and
//     the wait between prepare and commit never happen.
//   - It is plain text without authentication: failures of TLS and SASL need a
//     real broker.
//
// What rests on any of these is tested against a real cluster.
package kafkatest
