package avro

import (
	"fmt"

	"github.com/hamba/avro/v2"

	"github.com/trunkline/trunkline/bus/codec"
)

// ContentType names the encoding on the wire.
const ContentType = "application/avro"

// Codec encodes and decodes by one schema. It is safe for concurrent use.
type Codec struct {
	schema avro.Schema
	api    avro.API
}

var _ codec.Codec = (*Codec)(nil)

// New makes a codec of a schema, given as JSON text. It fails when the text is no
// schema, and says why.
func New(schema string) (*Codec, error) {
	// A cache of its own: the library's would let schemas of other codecs define names.
	s, err := avro.ParseWithCache(schema, "", &avro.SchemaCache{})
	if err != nil {
		return nil, fmt.Errorf("avro: the schema can't be used: %w", err)
	}
	// The check before decoding bounds every length by what is there.
	return &Codec{schema: s, api: avro.Config{MaxByteSliceSize: -1}.Freeze()}, nil
}

// ContentType returns [ContentType].
func (c *Codec) ContentType() string { return ContentType }

// Schema returns the schema in its canonical form, as a registry compares it.
func (c *Codec) Schema() string { return c.schema.String() }

// Marshal encodes v, which must have the schema's form.
func (c *Codec) Marshal(v any) (data []byte, err error) {
	defer failed(&err, "encode", v)
	if v == nil {
		return nil, fmt.Errorf("avro: nil can't be encoded")
	}
	if data, err = c.api.Marshal(c.schema, v); err != nil {
		return nil, fmt.Errorf("avro: encode a %T: %w", v, err)
	}
	return data, nil
}

// Unmarshal decodes data into v, a pointer, and keeps nothing of data.
func (c *Codec) Unmarshal(data []byte, v any) (err error) {
	defer failed(&err, "decode", v)
	if v == nil {
		return fmt.Errorf("avro: nil can't be decoded into")
	}
	if err := check(c.schema, data); err != nil {
		return fmt.Errorf("avro: %w", err)
	}
	if err := c.api.Unmarshal(c.schema, data, v); err != nil {
		return fmt.Errorf("avro: decode into a %T: %w", v, err)
	}
	return nil
}

// failed makes an error of a panic: the library has some for types that don't fit.
func failed(err *error, what string, v any) {
	if p := recover(); p != nil {
		*err = fmt.Errorf("avro: can't %s a %T: %v", what, v, p)
	}
}
