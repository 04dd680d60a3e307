package codec

import "google.golang.org/protobuf/proto"

// Codec encodes values as bytes and decodes them. A Codec must be safe for concurrent use.
type Codec interface {
	// ContentType returns the media type of the encoding, such as "application/json". It
	// must have between 1 and 128 bytes.
	ContentType() string
	// Marshal encodes v. The returned bytes belong to the caller.
	Marshal(v any) ([]byte, error)
	// Unmarshal decodes data into v, which is a pointer. It must not retain data.
	Unmarshal(data []byte, v any) error
}

// The built-in codecs.
var (
	// Protobuf encodes a proto.Message in protobuf's binary format. Its content type is
	// "application/protobuf".
	Protobuf Codec = protobufCodec{}
	// JSON encodes any value as encoding/json does, and a proto.Message by protobuf's JSON
	// mapping. Its content type is "application/json".
	JSON Codec = jsonCodec{}
	// Raw encodes []byte and *[]byte as they are. Marshal returns the same bytes without
	// copying them; Unmarshal copies. Its content type is "application/octet-stream".
	Raw Codec = rawCodec{}
)

// For returns the default codec for values of v's type: Protobuf for a proto.Message, Raw
// for []byte and *[]byte, JSON otherwise.
func For(v any) Codec {
	switch v.(type) {
	case proto.Message:
		return Protobuf
	case []byte, *[]byte:
		return Raw
	default:
		return JSON
	}
}
