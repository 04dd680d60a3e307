package codec

import "google.golang.org/protobuf/proto"

// Codec turns messages into bytes and back. It is used by many goroutines at once.
type Codec interface {
	// ContentType names the codec on the wire; at most 128 bytes, not empty.
	ContentType() string
	// Marshal encodes v. The bytes are the caller's.
	Marshal(v any) ([]byte, error)
	// Unmarshal decodes data into v, a pointer, and keeps nothing of data.
	Unmarshal(data []byte, v any) error
}

// The codecs that are always there.
var (
	// Protobuf encodes a proto.Message in binary: "application/protobuf".
	Protobuf Codec = protobufCodec{}
	// JSON encodes anything, a proto.Message by protobuf's JSON mapping:
	// "application/json".
	JSON Codec = jsonCodec{}
	// Raw passes []byte through: "application/octet-stream".
	Raw Codec = rawCodec{}
)

// For is the default for values of v's type: Protobuf for a proto.Message, Raw for
// []byte, JSON otherwise.
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
