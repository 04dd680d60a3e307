package rpc

import (
	"fmt"
	"maps"

	"github.com/trunkline/trunkline/bus/codec"
)

// codecs finds a codec by content type. It must not be changed once it is in use.
type codecs map[string]codec.Codec

var builtinCodecs = codecs{
	codec.Protobuf.ContentType(): codec.Protobuf,
	codec.JSON.ContentType():     codec.JSON,
	codec.Raw.ContentType():      codec.Raw,
}

func defaultCodecs() codecs { return maps.Clone(builtinCodecs) }

// of returns the codec for a content type. For "" it returns the default codec of v.
func (c codecs) of(contentType string, v any) (codec.Codec, error) {
	if contentType == "" {
		return codec.For(v), nil
	}
	if k, ok := c[contentType]; ok {
		return k, nil
	}
	return nil, fmt.Errorf("content type %q has no codec: see WithCodecs", contentType)
}
