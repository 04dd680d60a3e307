// Package memory is an in-memory log with the semantics of Kafka: topics with
// partitions and offsets, consumer groups with committed offsets and rebalances,
// replay, and bounded memory. Unit tests run on it instead of Kafka. It is also the
// reference model for the other transports.
//
//	t, err := memory.New() // a transport with its own log
//	if err != nil {
//		return err
//	}
//	b, err := bus.New(t)
//	if err != nil {
//		return err
//	}
//	defer b.Close()
//	err = b.CreateTopic(ctx, bus.TopicSpec{Name: "orders", Partitions: 8})
//
// A [Log] has the role of the broker. A [Transport] has the role of a client.
// Transports that use the same Log exchange messages. Tests inject faults with
// [Transport.Disconnect], [Log.Disconnect], [Log.Rebalance], [Log.ExpireMembers] and
// [Transport.Crash]. The package reads the time only from package time, so
// testing/synctest controls it.
//
// # URLs
//
// The scheme is memory.
//
//	memory://                a log of its own
//	memory://name            the log with this name, shared within the process
//	memory://name?partitions=8&max_records=1000&max_bytes=1048576&max_age=1h&revoke_timeout=2s
//
// The package keeps a registry of named logs, one for each process. The first
// transport that opens a name creates the log. The log and its records are dropped when
// the last transport with that name is closed. Each parameter sets the option of the
// same name. An unknown parameter, a value that is out of range, and a parameter that
// differs from those of the open log return an InvalidArgument error.
//
// # Message Delivery Semantics
//
// Delivery is at least once. A message is acknowledged to its publisher when it is in the
// log. Publish copies the message, and each subscriber receives its own copy. A change to
// one copy does not affect the others. The record keeps the headers of the message in their
// order. (Headers that come from watermill metadata have no order, because metadata is a
// map.) The timestamp of the record is the one that the message carries, or the time of
// Publish.
//
// A message goes to the partition that it names. If it names none, its key selects the
// partition, with the function of Kafka's Java client. Messages without a key go to the
// partitions in turn. Each partition keeps the order of publishing.
//
// The members of a group share the partitions evenly, and a rebalance moves as few
// partitions as possible. A rebalance happens when a member joins, leaves or is lost.
// The context of a revoked partition ends with the cause. Its owner can commit until it
// releases the partition, or until the revoke timeout (default 10 s) has passed. Then
// the next member receives the partition, and starts at the committed offset. If a member
// is lost by a crash or a disconnect, the group does not wait for it. StartNewest is
// resolved to an offset before the subscription is ready; in a group it is also
// committed. A subscription without a group reads every partition, or the partitions
// that it names, and keeps them during an outage.
//
// If the committed offset is no longer in the log, reading continues at the oldest
// record. The gap is visible in the offsets. StartAtOffset with an offset that is not
// in the log ends the subscription with OutOfRange.
//
// # Retention
//
// By default, a partition keeps at most 65,536 records and 64 MiB. When a message does
// not fit:
//
//   - The log drops the oldest records that every connected subscriber has passed. A
//     group has passed the records below its committed offset. A subscriber without a
//     group has passed the records that it has fetched.
//   - If a connected subscriber has not passed them, Publish waits under the context of
//     the message. If the context ends first, the outcome is DeadlineExceeded or
//     Canceled, and the message is not sent. Only messages for the same partition wait
//     behind it.
//   - Subscribers that are not connected do not hold records back. A topic without
//     subscribers keeps its newest records. The log can therefore drop records that a
//     group without connected members has not read, as Kafka's retention does.
//
// With a maximum age, the log also drops older records, read or unread.
//
// Records are stored in blocks of up to 64 KiB without pointers, which cost the garbage
// collector no work. A subscriber that keeps a UUID or a header of a record keeps its
// block in memory. One that keeps a key or a payload keeps the keys and payloads of the
// records that were fetched with it.
//
// # Compaction
//
// A topic is compacted if its configuration says so:
//
//	bus.TopicSpec{Name: "devices", Config: map[string]string{memory.ConfigCleanupPolicy: "compact"}}
//
// A compacted partition keeps the latest record of each key. An older record is removed
// as soon as a newer one with the same key is appended, read or unread. The gap is
// visible in the offsets, and a start offset in the gap continues at the next record. A
// record with an empty payload is a tombstone. It replaces the record of its key, is
// delivered, and is removed after 24 hours or after [ConfigDeleteRetentionMS]. (In
// Kafka only a null payload is a tombstone. A bus does not distinguish empty from null.)
// A message without a key returns InvalidArgument. The limits for records and bytes hold
// as in other topics and drop the oldest records. The maximum age applies only with
// "compact,delete".
//
// Kafka compacts in the background, and never the newest segment. This package compacts at
// once. So on Kafka a subscriber can also read records that are superseded: do not rely on
// reading each key only once.
//
// # What it does not do
//
// Records do not survive the process and do not leave it. There are no transactions.
// Groups and their committed offsets are kept as long as the topic. A group member is a
// subscription to one topic, so groups do not balance across topics. A disconnect ends
// the membership at once, without a session timeout.
//
// # As
//
// The package has no As function. [Transport.Log] returns the log, for tests that
// inspect it or inject faults.
package memory
