// Package avro is a codec for Apache Avro's binary encoding, by hamba/avro. It is a
// package of its own so that only who imports it has Avro in the binary.
//
//	orders, err := avro.New(`{"type": "record", "name": "Order", "fields": [
//		{"name": "id", "type": "string"},
//		{"name": "cents", "type": "long"}
//	]}`)
//
//	type Order struct {
//		ID    string `avro:"id"`
//		Cents int64  `avro:"cents"`
//	}
//
//	m, err := codec.Encode(orders, Order{"o-1", 250})
//	sub, err := b.Consume(ctx, "orders", codec.Handler(orders, handle), bus.Group("billing"))
//
// A payload is one datum and nothing else: no container file, no fingerprint or
// registry prefix before it. Which schema it was written with travels in the header
// codec.SchemaIDHeader where a program needs to know; package bus/producer sets it.
//
// # Values
//
// How Go types and Avro's go together is hamba/avro's matter: structs by `avro` tags,
// pointers for a union with null, map[string]any for any record or union.
//
// # What comes over the wire
//
// A payload is checked against the schema before it is decoded: truncated data, data
// with something behind it, lengths and counts that can't be true, nesting over 1,000
// levels. Whatever the bytes, Unmarshal returns, allocates no more than they are
// worth, and says where in the value they are wrong.
//
// # What it does not do
//
// It reads with the schema it writes with. A reader that has to understand several
// versions of a schema makes a codec for each and picks by the schema's id.
package avro
