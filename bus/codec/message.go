package codec

import (
	"fmt"
	"reflect"
	"strings"

	"github.com/ThreeDotsLabs/watermill"
	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/trunkline/trunkline/bus"
)

// The headers that describe a payload.
const (
	// ContentTypeHeader has the codec's content type, such as "application/json".
	ContentTypeHeader = "content-type"
	// SchemaIDHeader has the id of the payload's schema in the program's schema registry.
	SchemaIDHeader = "trunkline-schema-id"
)

// Encode encodes v with c. It returns a message with a new UUID and the header
// ContentTypeHeader. If c is nil, [For] selects the codec. If c cannot encode v, Encode
// returns an error with bus.CodeInvalidArgument.
func Encode(c Codec, v any) (*message.Message, error) {
	if c == nil {
		c = For(v)
	}
	payload, err := c.Marshal(v)
	if err != nil {
		return nil, &bus.Error{Code: bus.CodeInvalidArgument, Op: "encode", Reason: fmt.Sprintf("cannot encode %T as %s", v, c.ContentType()), Err: err}
	}
	m := message.NewMessage(watermill.NewUUID(), payload)
	m.Metadata.Set(ContentTypeHeader, c.ContentType())
	return m, nil
}

// Decode decodes the payload of m with c. T is a type that c can decode into: a struct, a
// pointer to one (for Protobuf the generated type, such as *pb.Order), or []byte. If c is
// nil, [For] selects the codec for T. The returned value does not alias the message.
//
// Decode returns an error with bus.CodeUndecodable if c cannot decode the payload, or if the
// header ContentTypeHeader names another content type.
func Decode[T any](c Codec, m *message.Message) (T, error) {
	return decode[T](c, m.Metadata.Get(ContentTypeHeader), m.Payload)
}

// decode decodes payload. An empty contentType matches every codec.
func decode[T any](c Codec, contentType string, payload []byte) (T, error) {
	var v T
	var target any = &v
	pointer := reflect.TypeFor[T]().Kind() == reflect.Pointer
	if pointer {
		target = reflect.New(reflect.TypeFor[T]().Elem()).Interface()
	}
	if c == nil {
		c = For(target)
	}
	if contentType != "" && !sameMediaType(contentType, c.ContentType()) {
		return v, &bus.Error{Code: bus.CodeUndecodable, Op: "decode",
			Reason: fmt.Sprintf("the content type is %q, expected %q", contentType[:min(len(contentType), 128)], c.ContentType())}
	}
	if err := c.Unmarshal(payload, target); err != nil {
		return v, &bus.Error{Code: bus.CodeUndecodable, Op: "decode", Reason: fmt.Sprintf("cannot decode the payload into %v as %s", reflect.TypeFor[T](), c.ContentType()), Err: err}
	}
	if pointer {
		v, _ = target.(T)
	}
	return v, nil
}

// sameMediaType compares media types without their parameters and, as RFC 9110 defines,
// without regard to case.
func sameMediaType(a, b string) bool { return strings.EqualFold(mediaType(a), mediaType(b)) }

func mediaType(s string) string {
	s, _, _ = strings.Cut(s, ";")
	return strings.TrimSpace(s)
}
