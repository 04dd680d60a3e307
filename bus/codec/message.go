package codec

import (
	"fmt"
	"reflect"
	"strings"

	"github.com/ThreeDotsLabs/watermill"
	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/trunkline/trunkline/bus"
)

// The headers that tell what a payload is.
const (
	// ContentTypeHeader holds the codec's content type: "application/json".
	ContentTypeHeader = "content-type"
	// SchemaIDHeader holds the id of the payload's schema, as text, where the program
	// has a registry of them.
	SchemaIDHeader = "trunkline-schema-id"
)

// Encode makes a message with a new UUID of v, encoded with c, and says so in its
// ContentTypeHeader. A nil c is [For] v. A value that c can't encode is
// bus.CodeInvalidArgument.
func Encode(c Codec, v any) (*message.Message, error) {
	if c == nil {
		c = For(v)
	}
	payload, err := c.Marshal(v)
	if err != nil {
		return nil, &bus.Error{Code: bus.CodeInvalidArgument, Op: "encode", Reason: fmt.Sprintf("a %T can't be encoded as %s", v, c.ContentType()), Err: err}
	}
	m := message.NewMessage(watermill.NewUUID(), payload)
	m.Metadata.Set(ContentTypeHeader, c.ContentType())
	return m, nil
}

// Decode returns the value of m's payload. T is what the codec fills: a struct, a
// pointer to one (for Protobuf the generated *pb.Order), []byte. A nil c is the
// default of T. What is decoded keeps nothing of the message. A payload that c can't
// decode, and a message whose ContentTypeHeader names another type, are
// bus.CodeUndecodable.
func Decode[T any](c Codec, m *message.Message) (T, error) {
	var v T
	var target any = &v
	pointer := reflect.TypeFor[T]().Kind() == reflect.Pointer
	if pointer {
		target = reflect.New(reflect.TypeFor[T]().Elem()).Interface()
	}
	if c == nil {
		c = For(target)
	}
	if said := m.Metadata.Get(ContentTypeHeader); said != "" && !sameType(said, c.ContentType()) {
		return v, &bus.Error{Code: bus.CodeUndecodable, Op: "decode", Reason: fmt.Sprintf("the message is %q, this reader takes %q", shorten(said), c.ContentType())}
	}
	if err := c.Unmarshal(m.Payload, target); err != nil {
		return v, &bus.Error{Code: bus.CodeUndecodable, Op: "decode", Reason: fmt.Sprintf("the payload is no %v in %s", reflect.TypeFor[T](), c.ContentType()), Err: err}
	}
	if pointer {
		v, _ = target.(T)
	}
	return v, nil
}

// sameType compares media types without their parameters, and as RFC 9110 says
// without regard to case.
func sameType(a, b string) bool { return strings.EqualFold(mediaType(a), mediaType(b)) }

func mediaType(s string) string {
	s, _, _ = strings.Cut(s, ";")
	return strings.TrimSpace(s)
}

// shorten keeps what came over the wire from filling a log.
func shorten(s string) string { return s[:min(len(s), 128)] }
