package avro_test

import (
	"bytes"
	"encoding/binary"
	"math"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/trunkline/trunkline/bus/codec/avro"
)

const orderSchema = `{"type": "record", "name": "Order", "fields": [
	{"name": "id", "type": "string"},
	{"name": "cents", "type": "long"},
	{"name": "state", "type": {"type": "enum", "name": "State", "symbols": ["OPEN", "PAID"]}},
	{"name": "note", "type": ["null", "string"]},
	{"name": "lines", "type": {"type": "array", "items": {"type": "record", "name": "Line", "fields": [
		{"name": "sku", "type": "string"}, {"name": "n", "type": "int"}, {"name": "gift", "type": "boolean"}]}}},
	{"name": "tags", "type": {"type": "map", "values": "bytes"}},
	{"name": "rate", "type": "double"},
	{"name": "sum", "type": {"type": "fixed", "name": "Sum", "size": 4}}
]}`

type line struct {
	SKU  string `avro:"sku"`
	N    int32  `avro:"n"`
	Gift bool   `avro:"gift"`
}

type order struct {
	ID    string            `avro:"id"`
	Cents int64             `avro:"cents"`
	State string            `avro:"state"`
	Note  *string           `avro:"note"`
	Lines []line            `avro:"lines"`
	Tags  map[string][]byte `avro:"tags"`
	Rate  float64           `avro:"rate"`
	Sum   [4]byte           `avro:"sum"`
}

func example() order {
	note := "mind the dog"
	return order{ID: "o-1", Cents: -250, State: "PAID", Note: &note, Lines: []line{{"a", 1, true}, {"b", math.MinInt32, false}},
		Tags: map[string][]byte{"k": {0, 1}}, Rate: 0.5, Sum: [4]byte{1, 2, 3, 4}}
}

func newCodec(t testing.TB, schema string) *avro.Codec {
	c, err := avro.New(schema)
	require.NoError(t, err)
	return c
}

func TestUnmarshalReturnsWhatWasMarshalled(t *testing.T) {
	t.Parallel()
	c := newCodec(t, orderSchema)
	require.Equal(t, "application/avro", c.ContentType())
	require.Contains(t, c.Schema(), `"name":"Order"`)
	want := example()
	data, err := c.Marshal(&want)
	require.NoError(t, err)
	var got order
	require.NoError(t, c.Unmarshal(data, &got))
	require.Equal(t, want, got)

	var general any
	require.NoError(t, c.Unmarshal(data, &general))
	require.Equal(t, "o-1", general.(map[string]any)["id"])

	clear(data)
	require.Equal(t, want, got, "the value does not alias the data")
}

func TestStringsMayBeLongerThanAMegabyte(t *testing.T) {
	t.Parallel()
	c := newCodec(t, `"string"`)
	long := strings.Repeat("x", 3<<20)
	data, err := c.Marshal(long)
	require.NoError(t, err)
	var got string
	require.NoError(t, c.Unmarshal(data, &got))
	require.Equal(t, long, got)
}

func TestNewRejectsInvalidSchemas(t *testing.T) {
	t.Parallel()
	for _, s := range []string{"", "{", `"strin"`, `{"type": "record", "name": "R"}`, `{"type": "array"}`} {
		_, err := avro.New(s)
		require.ErrorContains(t, err, "avro: invalid schema", s)
		require.NotContains(t, err.Error(), "\n")
	}
	newCodec(t, `{"type": "record", "name": "Shared", "fields": []}`)
	_, err := avro.New(`"Shared"`)
	require.Error(t, err, "names of one codec are not defined in another")
}

func TestValuesThatDoNotMatchTheSchema(t *testing.T) {
	t.Parallel()
	c := newCodec(t, orderSchema)
	bad := example()
	bad.State = "LOST"
	for name, v := range map[string]any{"nil": nil, "another type": 7, "unknown symbol": bad, "nil pointer": (*order)(nil), "channel": make(chan int)} {
		_, err := c.Marshal(v)
		require.ErrorContains(t, err, "avro: ", name)
	}
	good, err := c.Marshal(example())
	require.NoError(t, err)
	for name, v := range map[string]any{"nil": nil, "no pointer": order{}, "another type": new(int), "nil pointer": (*order)(nil)} {
		require.ErrorContains(t, c.Unmarshal(good, v), "avro: ", name)
	}
}

func varint(vs ...int64) []byte {
	var b []byte
	for _, v := range vs {
		b = binary.AppendVarint(b, v)
	}
	return b
}

func TestUnmarshalReportsWhereDataIsInvalid(t *testing.T) {
	t.Parallel()
	whole, err := newCodec(t, orderSchema).Marshal(example())
	require.NoError(t, err)
	const node = `{"type": "record", "name": "Node", "fields": [{"name": "next", "type": ["null", "Node"]}]}`
	const endless = `{"type": "record", "name": "R", "fields": [{"name": "r", "type": "R"}]}`
	const nulls = `{"type": "array", "items": "null"}`
	const longs = `{"type": "array", "items": "long"}`
	for name, tc := range map[string]struct {
		schema string
		data   []byte
		says   string
	}{
		"empty":                {orderSchema, nil, "id at byte 0: the data is truncated"},
		"cut short":            {orderSchema, whole[:len(whole)-1], "sum at byte"},
		"trailing byte":        {orderSchema, append(bytes.Clone(whole), 0), "the value at byte"},
		"negative length":      {`"string"`, varint(-1), "the length must not be negative, got -1"},
		"length past the end":  {`"bytes"`, append(varint(math.MaxInt64), 1), "is truncated"},
		"no boolean":           {`"boolean"`, []byte{2}, "must be 0 or 1, got 2"},
		"no int":               {`"int"`, varint(math.MaxInt32 + 1), "32 bits"},
		"long int":             {`"int"`, []byte{0x80, 0x80, 0x80, 0x80, 0x80, 0}, "32 bits"},
		"no long":              {`"long"`, bytes.Repeat([]byte{0xff}, 11), "64 bits"},
		"no symbol":            {`{"type": "enum", "name": "E", "symbols": ["A"]}`, varint(1), "symbol index is 1, must be at least 0 and less than 1"},
		"no type of the union": {`["null", "int"]`, varint(-1), "type index is -1"},
		"too deep":             {node, bytes.Repeat([]byte{2}, 1_000_000), "nested deeper"},
		"endless schema":       {endless, nil, "nested deeper"},
		"count past the end":   {longs, varint(math.MaxInt64), "more than the data can hold"},
		"minimum count":        {longs, varint(math.MinInt64, 0), "more than the data can hold"},
		"many nulls":           {nulls, varint(1<<40, 0), "more than the data can hold"},
		"wrong block size":     {longs, varint(-1, 2, 7, 0), "the size of a block is wrong"},
		"block past the end":   {longs, varint(-1, 9, 7, 0), "is truncated"},
		"truncated item":       {longs, varint(3, 1, 1), "[2] at byte 3: the data is truncated"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var v any
			err := newCodec(t, tc.schema).Unmarshal(tc.data, &v)
			require.ErrorContains(t, err, tc.says)
			require.Less(t, len(err.Error()), 300)
		})
	}
}

func TestUnmarshalAcceptsBlocksWithSizes(t *testing.T) {
	t.Parallel()
	c := newCodec(t, `{"type": "array", "items": "long"}`)
	var got []int64
	require.NoError(t, c.Unmarshal(varint(-2, 2, 5, 6, 1, 7, 0), &got))
	require.Equal(t, []int64{5, 6, 7}, got)
}

// For all data, Unmarshal returns, and a value that it decodes can be encoded and decoded
// again.
func FuzzUnmarshal(f *testing.F) {
	c := newCodec(f, orderSchema)
	whole, err := c.Marshal(example())
	require.NoError(f, err)
	f.Add(whole)
	f.Add(whole[:len(whole)/2])
	f.Add(append(bytes.Clone(whole), 0))
	f.Add(bytes.Repeat([]byte{0xff}, 40))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, data []byte) {
		var general any
		var v order
		generalErr, err := c.Unmarshal(data, &general), c.Unmarshal(data, &v)
		if (err == nil) != (generalErr == nil) {
			t.Fatalf("into a struct: %v, into any: %v", err, generalErr)
		}
		if err != nil {
			return
		}
		again, err := c.Marshal(v)
		require.NoError(t, err)
		var same order
		require.NoError(t, c.Unmarshal(again, &same))
		if v.Rate == v.Rate { // not NaN
			require.Equal(t, v, same)
		}
	})
}

// For all schema texts and data, New and Unmarshal return. A schema that New accepts can be
// parsed again from its canonical form.
func FuzzNew(f *testing.F) {
	for _, schema := range []string{
		orderSchema, `"string"`, `["null", "long"]`, `{"type": "array", "items": "null"}`, `{"type": "map", "values": "bytes"}`,
		`{"type": "fixed", "name": "F", "size": 3}`, `{"type": "bytes", "logicalType": "decimal", "precision": 4, "scale": 2}`,
		`{"type": "record", "name": "Node", "fields": [{"name": "next", "type": ["null", "Node"]}]}`,
		`{"type": "record", "name": "R", "fields": [{"name": "r", "type": "R"}]}`, `{`,
	} {
		f.Add(schema, []byte{2, 2, 0})
	}
	f.Fuzz(func(t *testing.T, schema string, data []byte) {
		c, err := avro.New(schema)
		if err != nil {
			return
		}
		if _, err := avro.New(c.Schema()); err != nil {
			t.Fatalf("canonical form %s: %v", c.Schema(), err)
		}
		var v any
		if err := c.Unmarshal(data, &v); err == nil && v != nil {
			_, _ = c.Marshal(v)
		}
	})
}
