// Package dlq reads a dead-letter topic that package bus has written, and replays or drops
// its messages.
//
// # Progress
//
// A program cannot delete a single message from a log, so the package records which messages
// are done. It uses a consumer group for that: every message below the committed offset of a
// partition is done. The committed offset cannot pass a message that is not done, although
// later messages may be done already. For these later messages the package writes a note: a
// record in the same partition of the dead-letter topic, with the header [NoteHeader]. From
// the committed offsets and the notes, a second run finds out which work is left.
//
// A job publishes a message first and records it afterwards. If it is killed in between, the
// next job publishes the message again: delivery is at least once.
package dlq
