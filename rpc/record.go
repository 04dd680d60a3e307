package rpc

import "github.com/trunkline/trunkline/bus"

// newRecord returns an empty record for Wire.Encode, with capacity for the headers of a
// request.
func newRecord() *bus.Record {
	return &bus.Record{Partition: bus.AnyPartition, Headers: make([]bus.Header, 0, 10)}
}

// resetRecord empties a record that has been published, so that Wire.Encode can write into
// it again.
func resetRecord(r *bus.Record) {
	clear(r.Headers)
	*r = bus.Record{Partition: bus.AnyPartition, Key: r.Key[:0], Headers: r.Headers[:0]}
}
