package rpc

import (
	"encoding/json"
	"errors"
	"fmt"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
)

// Codec turns messages into bytes and back. It is used by many goroutines at once.
type Codec interface {
	// ContentType names the codec on the wire; at most 128 bytes, not empty.
	ContentType() string
	// Marshal encodes v. The bytes are the caller's.
	Marshal(v any) ([]byte, error)
	// Unmarshal decodes data into v, a pointer, and keeps nothing of data.
	Unmarshal(data []byte, v any) error
}

// The codecs that clients and servers know from the start.
var (
	// Protobuf encodes a proto.Message in binary: "application/protobuf".
	Protobuf Codec = protobufCodec{}
	// JSON encodes anything, a proto.Message by protobuf's JSON mapping:
	// "application/json".
	JSON Codec = jsonCodec{}
	// Raw passes []byte through: "application/octet-stream".
	Raw Codec = rawCodec{}
)

// codecFor is the default for values of v's type: Protobuf for a proto.Message,
// Raw for []byte, JSON otherwise.
func codecFor(v any) Codec {
	switch v.(type) {
	case proto.Message:
		return Protobuf
	case []byte, *[]byte:
		return Raw
	default:
		return JSON
	}
}

type protobufCodec struct{}

func (protobufCodec) ContentType() string { return "application/protobuf" }

func (protobufCodec) Marshal(v any) ([]byte, error) {
	m, ok := v.(proto.Message)
	if !ok {
		return nil, fmt.Errorf("protobuf: %T is not a proto.Message", v)
	}
	return proto.Marshal(m)
}

func (protobufCodec) Unmarshal(data []byte, v any) error {
	m, ok := v.(proto.Message)
	if !ok {
		return fmt.Errorf("protobuf: %T is not a proto.Message", v)
	}
	return proto.Unmarshal(data, m)
}

type jsonCodec struct{}

func (jsonCodec) ContentType() string { return "application/json" }

func (jsonCodec) Marshal(v any) ([]byte, error) {
	if m, ok := v.(proto.Message); ok {
		return protojson.Marshal(m)
	}
	return json.Marshal(v)
}

func (jsonCodec) Unmarshal(data []byte, v any) error {
	if m, ok := v.(proto.Message); ok {
		return protojson.Unmarshal(data, m)
	}
	return json.Unmarshal(data, v)
}

type rawCodec struct{}

func (rawCodec) ContentType() string { return "application/octet-stream" }

func (rawCodec) Marshal(v any) ([]byte, error) {
	switch v := v.(type) {
	case []byte:
		return v, nil
	case *[]byte:
		if v == nil {
			return nil, errors.New("raw: nil *[]byte")
		}
		return *v, nil
	default:
		return nil, fmt.Errorf("raw: %T is not []byte", v)
	}
}

// Unmarshal copies: data may belong to a transport, and what is decoded is the user's.
func (rawCodec) Unmarshal(data []byte, v any) error {
	p, ok := v.(*[]byte)
	if !ok || p == nil {
		return fmt.Errorf("raw: %T is not *[]byte", v)
	}
	*p = append(make([]byte, 0, len(data)), data...)
	return nil
}

// codecs finds a codec by content type. It does not change once it is in use.
type codecs map[string]Codec

func defaultCodecs() codecs {
	c := codecs{}
	for _, k := range []Codec{Protobuf, JSON, Raw} {
		c[k.ContentType()] = k
	}
	return c
}

// of returns the codec for a content type; an empty one stands for v's default.
func (c codecs) of(contentType string, v any) (Codec, error) {
	if contentType == "" {
		return codecFor(v), nil
	}
	if k, ok := c[contentType]; ok {
		return k, nil
	}
	return nil, fmt.Errorf("no codec for content type %q", contentType)
}
