// Package codec encodes Go values as message payloads and decodes them. Package rpc uses
// it for requests and responses, and package bus/producer for typed sends. For a consumer,
// [Handler] turns a function that takes a value into a bus.Handler:
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
// # Codecs
//
//   - [JSON] encodes any value, and a proto.Message by protobuf's JSON mapping.
//   - [Protobuf] encodes a proto.Message.
//   - [Raw] uses a []byte as the payload, without encoding.
//   - Package bus/codec/avro encodes Avro. It is a separate package, so that programs
//     without Avro do not link it.
//
// [For] selects the default for a value: Protobuf for a proto.Message, Raw for []byte,
// JSON otherwise. Any type that implements [Codec] can be used as a codec.
//
// # Headers
//
// Encode sets the header [ContentTypeHeader] to the codec's content type. Decode returns an
// error with bus.CodeUndecodable if the header names another content type. It accepts a
// message without the header.
//
// [SchemaIDHeader] is for the id of the payload's schema, in programs with a schema
// registry. No codec here reads it or contacts a registry.
//
// # What it does not do
//
// It does not store schemas, and does not check that the schemas of writer and reader are
// compatible. It does not encrypt, sign or compress.
package codec
