package rpc

import "github.com/trunkline/trunkline/bus"

// newRecord returns an empty record for Wire.Encode, with room for a request's headers.
func newRecord() *bus.Record {
	return &bus.Record{Partition: bus.AnyPartition, Headers: make([]bus.Header, 0, 10)}
}

// resetRecord empties a record that has been published, for use by Wire.Encode again.
func resetRecord(r *bus.Record) {
	clear(r.Headers)
	*r = bus.Record{Partition: bus.AnyPartition, Key: r.Key[:0], Headers: r.Headers[:0]}
}
