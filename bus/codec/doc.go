// Package codec turns values into the payloads of messages and back. Package rpc
// uses it for requests and responses, package bus/producer for typed sends; on the
// receiving side [Handler] makes a bus.Handler of a function that takes values:
//
//	type Order struct{ ID, Customer string }
//
//	m, err := codec.Encode(codec.JSON, Order{"o-1", "ada"})
//	err = b.Publish("orders", m)
//
//	sub, err := b.Consume(ctx, "orders",
//		codec.Handler(codec.JSON, func(ctx context.Context, o Order, d *bus.Delivery) error {
//			return store(ctx, o)
//		}),
//		bus.Group("billing"), bus.DeadLetterTopic("orders.dead"))
//
// # The codecs
//
// [JSON] takes anything, [Protobuf] every proto.Message, [Raw] bytes. Avro is in
// package bus/codec/avro, so that only who imports it has it in the binary. [For] is
// the default of a type: Protobuf for a proto.Message, Raw for []byte, JSON
// otherwise. Any type with the three methods of [Codec] is a codec.
//
// # What is said about a payload
//
// Encode puts the codec's content type in the header [ContentTypeHeader]. A message
// that says there that it is something else is not guessed at: decoding fails with
// bus.CodeUndecodable. One without the header is taken for what the codec reads.
// [SchemaIDHeader] carries the id of the payload's schema where a program keeps a
// registry. It is the program's to read: no codec here asks a registry.
//
// # What it does not do
//
// It keeps no schemas, and does not check whether the schema of a writer and that of
// a reader go together. It does not encrypt, sign or compress.
package codec
