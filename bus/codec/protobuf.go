package codec

import (
	"fmt"

	"google.golang.org/protobuf/proto"
)

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
