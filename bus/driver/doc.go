// Package driver is the contract between package bus and a transport, in the manner of
// database/sql/driver. Programs that use a bus rarely import it; packages that implement a
// transport do.
//
// A transport has few tasks. It appends records to a log, fetches the records of the partitions
// that are assigned to it, stores committed offsets, and reports when a partition is revoked.
// Package bus does everything that is the same for all transports: windows, order by key, the
// contiguous acknowledged prefix, back-off, dead letters, draining and hooks.
//
// To write a transport, implement [Transport], [Session] and [Partition], and run
// testing/transporttest on it. The comment of each method states what the transport must do, and
// what package bus guarantees.
//
// # Ownership
//
// An [Outgoing] belongs to the transport from Publish until the transport calls Complete. The
// transport must not change it. If it needs a part of the Outgoing later, it must copy that part
// before it calls Complete. A [Record] belongs to package bus after Fetch returned it. Neither side
// changes the bytes that the record refers to, so a transport may return the same bytes to many
// subscriptions.
//
// # Errors
//
// Every error of a transport should be an [*Error] with the [Code] that classifies it. Package
// bus never examines the text of an error.
package driver
