package rpc

import (
	"fmt"

	"github.com/trunkline/trunkline/bus/codec"
)

// codecs finds a codec by content type. It does not change once it is in use.
type codecs map[string]codec.Codec

func defaultCodecs() codecs {
	c := codecs{}
	for _, k := range []codec.Codec{codec.Protobuf, codec.JSON, codec.Raw} {
		c[k.ContentType()] = k
	}
	return c
}

// of returns the codec for a content type; an empty one stands for v's default.
func (c codecs) of(contentType string, v any) (codec.Codec, error) {
	if contentType == "" {
		return codec.For(v), nil
	}
	if k, ok := c[contentType]; ok {
		return k, nil
	}
	return nil, fmt.Errorf("no codec for content type %q", contentType)
}
