// Package driver is the contract between package bus and a transport.
//
// Users of a bus do not import this package. It is for those who write a
// transport, in the manner of database/sql/driver.
//
// A transport is thin. It appends records, hands out the records of the
// partitions it is assigned, remembers committed positions, and says when a
// partition is taken away. Whatever is hard and the same everywhere is written
// once, in package bus: windows, order by key, the contiguous acknowledged
// prefix, Nack with back-off, dead letters, draining, hooks.
//
// To write a transport, implement [Transport], [Session] and [Partition], and
// run testing/transporttest on it. The comment of every method states the
// transport's obligation (it "must") and what package bus guarantees in return.
//
// # Who owns what
//
// An [Outgoing] belongs to the transport from Publish until it is completed;
// its Message must not be changed, and neither it nor anything it refers to may
// be kept after Complete. A [Record] belongs to package bus once Fetch has
// returned it. The byte slices in it must never change again, and package bus
// does not change them either, so a transport may hand the same bytes to many
// subscriptions.
//
// # Errors
//
// Every error a transport returns should be an [*Error] with the [Code] that
// says what kind it is. Package bus never looks at an error's text.
package driver
