package avro

import (
	"fmt"

	"github.com/hamba/avro/v2"

	"github.com/trunkline/trunkline/bus/codec"
)

// ContentType is the content type of the encoding.
const ContentType = "application/avro"

// Codec encodes and decodes values of one schema. It is safe for concurrent use.
type Codec struct {
	schema avro.Schema
	api    avro.API
}

var _ codec.Codec = (*Codec)(nil)

// New makes a codec for a schema, given as JSON text. It returns an error if the text is not
// a valid schema.
func New(schema string) (*Codec, error) {
	// The library's default cache is global. With it, this schema could use names that the
	// schemas of other codecs define.
	s, err := avro.ParseWithCache(schema, "", &avro.SchemaCache{})
	if err != nil {
		return nil, fmt.Errorf("avro: invalid schema: %w", err)
	}
	// check limits every length to the size of the payload, so the library's limit is off.
	return &Codec{schema: s, api: avro.Config{MaxByteSliceSize: -1}.Freeze()}, nil
}

// ContentType returns [ContentType].
func (c *Codec) ContentType() string { return ContentType }

// Schema returns the schema in Avro's canonical form, in which schemas can be compared.
func (c *Codec) Schema() string { return c.schema.String() }

// Marshal encodes v. It returns an error if v does not match the schema.
func (c *Codec) Marshal(v any) (data []byte, err error) {
	defer recoverPanic(&err, "encode", v)
	if v == nil {
		return nil, fmt.Errorf("avro: cannot encode nil")
	}
	if data, err = c.api.Marshal(c.schema, v); err != nil {
		return nil, fmt.Errorf("avro: cannot encode a %T: %w", v, err)
	}
	return data, nil
}

// Unmarshal decodes data into v, which must be a pointer. It does not retain data.
func (c *Codec) Unmarshal(data []byte, v any) (err error) {
	defer recoverPanic(&err, "decode into", v)
	if v == nil {
		return fmt.Errorf("avro: cannot decode into nil")
	}
	if err := check(c.schema, data); err != nil {
		return fmt.Errorf("avro: %w", err)
	}
	if err := c.api.Unmarshal(c.schema, data, v); err != nil {
		return fmt.Errorf("avro: cannot decode into a %T: %w", v, err)
	}
	return nil
}

// recoverPanic turns a panic into an error. The library panics for some types that do not
// match the schema.
func recoverPanic(err *error, what string, v any) {
	if p := recover(); p != nil {
		*err = fmt.Errorf("avro: cannot %s a %T: %v", what, v, p)
	}
}
