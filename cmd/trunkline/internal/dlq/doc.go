// Package dlq looks into a dead-letter topic as package bus writes it, and works it
// off: messages are published again, or given up.
//
// # Progress
//
// A log forgets nothing, so what is done has to be remembered beside it. A consumer
// group does: everything below its position in a partition is dealt with. A message
// that is dealt with out of turn, with others before it that are not, lies above the
// position. Of such there is a note, a record of its own in the same partition of the
// dead-letter topic, with the header [NoteHeader]. Both make that a second run does not
// do again what the first one did.
//
// A message is published first and remembered then. A run that is killed in between
// publishes it again: at least once.
package dlq
