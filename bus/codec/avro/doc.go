// Package avro is a codec for the binary encoding of Apache Avro. It uses hamba/avro. It is
// a separate package, so that programs without Avro do not link it.
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
// A payload is exactly one Avro value. It has no container file header, and no fingerprint
// or registry id before it. A program that must send the id of the schema puts it in the
// header codec.SchemaIDHeader, with producer.SchemaID.
//
// # Go types
//
// hamba/avro defines which Go types match which Avro types. Examples are a struct with `avro`
// tags for a record, a pointer for a union with null, and map[string]any for any record or
// union.
//
// # Untrusted payloads
//
// Unmarshal checks a payload against the schema before it decodes it. It rejects truncated
// data, data after the value, lengths and counts that the payload cannot contain, and
// nesting deeper than 1,000 levels. It always returns, and its memory is in proportion to
// the payload. An error names the place in the value.
//
// # What it does not do
//
// It decodes with the schema that it encodes with. A reader of several versions of a schema
// makes one codec for each and selects one by the schema's id.
package avro
