// Package memory is an in-memory log with Kafka's semantics: topics of partitions
// with offsets, consumer groups with committed positions and rebalances, replay,
// and bounded memory. It is what a unit test runs on instead of Kafka, and the
// model the other transports are measured against.
//
//	t, err := memory.New() // a log of its own
//	b, err := bus.New(t)
//	err = b.CreateTopic(ctx, bus.TopicSpec{Name: "orders", Partitions: 8})
//
// A [Log] is the broker, a [Transport] a client of it. Transports that are given
// the same Log, or are opened under the same name, talk to each other. Tests drive
// the faults: [Transport.Disconnect] and [Log.Disconnect], [Log.Rebalance],
// [Log.ExpireMembers], [Transport.Crash]. All time comes from package time, so
// testing/synctest controls it.
//
// # URLs
//
// The scheme is memory.
//
//	memory://                a log of its own
//	memory://name            the log of that name, shared by all who open it
//	memory://name?partitions=8&max_records=1000&max_bytes=1048576&max_age=1h&revoke_timeout=2s
//
// The names are the process's: the package keeps a registry of the logs that were
// opened by a named URL. Who opens a name first makes its log, who closes last
// drops it with all that is in it. The parameters are those of the options of the
// like name; a parameter that is not known, a value that is out of range, and one
// that differs from what the log was made with are InvalidArgument.
//
// # Message Delivery Semantics
//
// Delivery is at least once. A published message is acknowledged when it is in the
// log. Publish copies all of it, and so does every subscriber's read, so that nobody
// can change what others see. Metadata become headers, in no particular order,
// directives left out. A record's timestamp is the message's, or the time of Publish.
//
// The partition is the one that is named, or by the key what Java's default
// partitioner says, or the partitions in turn. Within a partition records keep the
// order of publishing.
//
// In a group the members share the partitions evenly, and a rebalance moves as few
// as can be. It follows a member's joining, leaving, and loss. A claim that is
// revoked is told so by its context and may commit until it is released; then, or
// when the revoke timeout (10 s) has passed, the next member gets the partition,
// at the committed position. A group that lost a member to a crash or a
// disconnect does not wait. StartNewest is resolved, and in a group committed,
// before the session says that it is assigned. Without a group every session sees
// every partition; its claims survive an outage.
//
// A position that is no longer in the log when it is taken up again goes on at the
// oldest record: the gap shows in the offsets. StartAtOffset outside the log is
// OutOfRange and ends the session.
//
// # Memory is bounded
//
// A partition keeps 65,536 records and 64 MiB, unless options say otherwise. It keeps
// them in pieces of up to 64 KiB that hold no pointers, so the collector has no work with
// them; a subscriber that keeps a record keeps the memory of those it was fetched with.
// When a message finds it full:
//
//   - The oldest records make room, as long as every subscriber that is connected
//     has passed them: a group its committed position, a reader without a group
//     what it has fetched.
//   - If a connected subscriber has not, Publish waits for it under the message's
//     context, and then completes with DeadlineExceeded or Canceled: nothing was
//     sent. Messages for other partitions go on, those for the same one wait in
//     line.
//   - Who is not connected does not count. So a topic nobody reads keeps the
//     newest records, and a group whose members are all gone may find its next
//     records dropped, as with Kafka's retention.
//
// With a maximum age, records that are older go, whoever has not read them.
//
// # The latest record of each key
//
// A topic is compacted whose configuration says so:
//
//	bus.TopicSpec{Name: "devices", Config: map[string]string{memory.ConfigCleanupPolicy: "compact"}}
//
// There a record goes as soon as a later one of its partition has the same key,
// whoever has not read it; the gap shows in the offsets, and positions in it go on at
// the next record. A record with an empty payload is a tombstone: it supersedes like
// any other, is delivered, and goes itself after a day, or [ConfigDeleteRetentionMS].
// (To Kafka only a null payload is one; a bus does not tell empty from null.) A message
// without a key is InvalidArgument. The limits for records and bytes hold as they do
// elsewhere, and drop the oldest; the age holds with "compact,delete" only.
//
// Kafka compacts now and then, and never the newest segment; this does it at once. So
// a program that is right here about what it can't count on is right there too, and
// one that counts on each key coming once is not.
//
// # What it can't do
//
// Nothing outlives the process, and nothing leaves it. There are no transactions.
// A group's position is kept for as long as its topic, and so
// are the groups themselves. A member is a session on one topic; groups do not
// balance across topics. Membership is lost at the moment of a disconnect, not
// after a session timeout.
package memory
