// Package dlq reads a dead-letter topic that package bus has written, and replays or drops
// its messages.
//
// # Progress
//
// A log deletes nothing on demand, so the package records beside the log which messages are
// done. A consumer group records most of it: every message below the committed offset of
// a partition is done. A message that is done while an earlier one is not lies above the
// committed offset. The package writes a note about it, a record in the same partition of
// the dead-letter topic, with the header [NoteHeader]. With both, a second run does not
// repeat the work of the first.
//
// A job publishes a message first and records it afterwards. If it is killed in between, the
// next job publishes the message again: delivery is at least once.
package dlq
