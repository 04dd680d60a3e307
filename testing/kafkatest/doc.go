// Package kafkatest provides an embedded Kafka broker that runs in the program's own
// process, and a dialer that can interrupt the network.
//
//	b, err := kafkatest.Start(ctx, kafkatest.WithTopics(8, "orders"))
//	if err != nil {
//		return err
//	}
//	defer b.Close()
//	client, err := sarama.NewClient(b.Addrs(), sarama.NewConfig())
//
// Tests use package kafkatb. It does the same for a testing.TB, and can run the
// test against a real cluster instead. The command cluster starts a real cluster
// on this machine.
//
// # Faults
//
// A [Dialer] can interrupt and restore the network of the client that uses it. Its
// connections fail with the errors of the operating system, so code that
// classifies errors by type behaves as in production.
//
// # What the embedded broker does
//
// The embedded broker is franz-go's kfake. It implements the protocol of Kafka 4.
// It keeps topics, offsets, groups and transactions in memory, and drops them on
// Close. The tests of kafkatb run sarama 1.61.1 against it, at the protocol
// versions 2.8, 3.3 and 3.6. They cover idempotent and transactional producers,
// read-committed consumers, partition consumers, consumer groups with the range,
// sticky and cooperative-sticky strategies, and creating, growing and deleting
// topics.
//
// By default the broker does not create topics automatically. It answers a request
// for an unknown topic with UNKNOWN_TOPIC_OR_PARTITION, like a broker with
// auto.create.topics.enable=false. Clients repeat such a request. With sarama's
// default settings, a publish to an unknown or deleted topic fails after 0.8 to
// 1.6 s.
//
// # What the embedded broker does not do
//
//   - It does not replicate. There is one copy of a record, no in-sync set and no
//     follower. acks=all is as fast as acks=1, min.insync.replicas is always
//     met, and no leader election follows a loss. A single broker cannot be
//     killed or paused.
//   - It deletes a topic at once. A real cluster deletes in the background, and the
//     topic disappears from the metadata of one broker after the other.
//   - Its metadata is the same on every broker at all times. In a real cluster a new
//     topic is missing from the metadata of some brokers for a while.
//   - It handles one request at a time, without disk, throttling or quotas. Its
//     group coordinator has no initial rebalance delay. Its speed and timing do
//     not represent those of a real broker.
//   - It completes a transaction within the request. CONCURRENT_TRANSACTIONS and
//     the wait between prepare and commit do not occur.
//   - It has neither TLS nor SASL.
//
// If your code depends on one of these points, test it against a real cluster.
package kafkatest
