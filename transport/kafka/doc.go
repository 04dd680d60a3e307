// Package kafka is the transport of a bus on Apache Kafka, by way of IBM/sarama.
//
//	t, err := kafka.New([]string{"kafka-1:9092", "kafka-2:9092"}, kafka.WithClientID("orders"))
//	if err != nil {
//		return err // something is wrong here; an absent broker is no error
//	}
//	b, err := bus.New(t, bus.WithSubscribeDefaults(bus.Group("orders")))
//
// Its records are those of watermill-kafka's DefaultMarshaler, so services on either
// read each other's. Another marshaler of watermill-kafka's, or [RawMarshaler] for
// records without headers, is set with [WithMarshaler] or, for one topic, with
// [WithTopicMarshaler].
//
// # URLs
//
// For bus.Open the package registers the scheme kafka, with brokers separated by
// commas:
//
//	kafka://kafka-1:9092,kafka-2:9092?client_id=orders&group=orders
//
// The parameters are client_id, version (of the protocol: 2.8.0 by default),
// dial_timeout, request_timeout and refresh (see [Timeouts]), besides those of package
// bus. Credentials have no place in a URL: see [WithTLS] and [WithSASLPlain].
//
// # Message Delivery Semantics
//
// A message is published when every in-sync replica has it (acks=all), once, also when
// it was sent more than once (an idempotent producer), and in order within its
// partition. Its partition is the one that it names; else the one that Java's
// default partitioner chooses for its key; else any, the same one until a batch is
// done. Topics are never created by accident: a message to an unknown one fails, within
// a second, with NotFound.
//
// With a group, delivery is at least once: what was not committed is delivered again,
// to this member or another. A commit succeeds when the coordinator said so. A revoked
// partition goes to the next member when its handlers have ended, for which they have
// the rebalance time-out, and what they committed until then counts. A partition
// without a commit begins where the subscription says; unless that is the oldest
// record, the resolved position is committed before the subscription is ready. A
// committed position that retention has passed, or that is beyond the end of a topic
// that was made anew, goes on at the oldest record that is there.
//
// Without a group every partition is read, or those that were asked for, from a number
// that was resolved before the subscription was ready, so nothing published after that
// is missed. Reading goes on after the last record after an outage of any length. If
// that is no longer in the log the subscription ends with OutOfRange: nothing is
// skipped in silence. A partition that is added later is noticed within
// [Timeouts].Refresh and read from its beginning.
//
// # Connection
//
// A transport without traffic asks a broker for a sign of life, on a connection of its
// own, and does so at once when any connection fails. When no broker answers it is
// Disconnected, everything that waits for an answer is cut off, and it goes on trying,
// with jitter, at least once a second. Publish then waits a short while for a
// connection and gives up with Unavailable. A message that may have reached a broker
// when the connection was lost is OutcomeUnknown. Refused credentials are tried again
// every five seconds.
//
// Producing, metadata with offsets, each group session and each session without a
// group have a client, and so connections, of their own: brokers answer the requests of
// one connection one after the other, and a long poll or a rebalance would hold up the
// rest.
//
// # What it does not do
//
// It has no transactions. A bus that is to read one topic in several groups needs a
// subscription for each. Positions that brokers keep for a group are not deleted, and
// the number of partitions is not changed.
package kafka
