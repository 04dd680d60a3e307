package avro

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"

	"github.com/hamba/avro/v2"
)

const (
	maxDepth = 1000
	// maxEmptyItems bounds the items that take no bytes, such as those of an array of nulls.
	maxEmptyItems = 1 << 16
)

// check returns an error unless data is exactly one value of the schema. The decoder alone is
// not enough: it does not check lengths and counts, and does not detect truncated data.
func check(s avro.Schema, data []byte) error {
	k := checker{data: data, items: len(data) + maxEmptyItems}
	err := k.value(s)
	if err == nil && len(k.data) > 0 {
		err = fmt.Errorf("%d bytes follow the value", len(k.data))
	}
	if err != nil {
		return fmt.Errorf("%s at byte %d: %w", k.location(), len(data)-len(k.data), err)
	}
	return nil
}

// checker reads the values in data, one after the other. After an error, data begins at the
// error, and path leads to the value that is invalid.
type checker struct {
	data  []byte
	items int    // how many more items all arrays and maps may have
	path  []step // from the outermost value to the current one
}

// step is a field's name or, if that is empty, an item's index.
type step struct {
	field string
	item  int
}

var errShort = errors.New("the data is truncated")

func (k *checker) location() string {
	if len(k.path) == 0 {
		return "the value"
	}
	var b strings.Builder
	for i, s := range k.path[:min(len(k.path), 20)] {
		switch {
		case s.field == "":
			b.WriteString("[" + strconv.Itoa(s.item) + "]")
		case i > 0:
			b.WriteString("." + s.field)
		default:
			b.WriteString(s.field)
		}
	}
	if len(k.path) > 20 {
		b.WriteString("…")
	}
	return b.String()
}

func (k *checker) value(s avro.Schema) error {
	switch s := s.(type) {
	case *avro.RefSchema:
		return k.value(s.Schema())
	case *avro.RecordSchema:
		for _, f := range s.Fields() {
			if err := k.within(step{field: f.Name()}, f.Type()); err != nil {
				return err
			}
		}
		return nil
	case *avro.EnumSchema:
		return k.choice("symbol", len(s.Symbols()), nil)
	case *avro.ArraySchema:
		return k.blocks(func(i int) error { return k.within(step{item: i}, s.Items()) })
	case *avro.MapSchema:
		return k.blocks(func(i int) error {
			if err := k.counted(); err != nil {
				return err
			}
			return k.within(step{item: i}, s.Values())
		})
	case *avro.UnionSchema:
		return k.choice("type", len(s.Types()), func(i int) error { return k.value(s.Types()[i]) })
	case *avro.FixedSchema:
		return k.skip(int64(s.Size()))
	case *avro.NullSchema:
		return nil
	case *avro.PrimitiveSchema:
		return k.primitive(s.Type())
	default:
		return fmt.Errorf("the schema has a %T, which is not supported", s)
	}
}

func (k *checker) within(s step, schema avro.Schema) error {
	if len(k.path) == maxDepth {
		return fmt.Errorf("the value is nested deeper than %d levels", maxDepth)
	}
	k.path = append(k.path, s)
	err := k.value(schema)
	if err == nil {
		k.path = k.path[:len(k.path)-1]
	}
	return err
}

func (k *checker) primitive(t avro.Type) error {
	switch t {
	case avro.Null:
		return nil
	case avro.Boolean:
		if len(k.data) > 0 && k.data[0] > 1 {
			return fmt.Errorf("a boolean must be 0 or 1, got %d", k.data[0])
		}
		return k.skip(1)
	case avro.Int:
		before := len(k.data)
		n, err := k.long()
		if err == nil && (n < math.MinInt32 || n > math.MaxInt32 || before-len(k.data) > binary.MaxVarintLen32) {
			return errors.New("an int has more than 32 bits")
		}
		return err
	case avro.Long:
		_, err := k.long()
		return err
	case avro.Float:
		return k.skip(4)
	case avro.Double:
		return k.skip(8)
	case avro.String, avro.Bytes:
		return k.counted()
	default:
		return fmt.Errorf("the schema has the type %q, which is not supported", t)
	}
}

// long reads a zigzag varint, which is encoding/binary's format too.
func (k *checker) long() (int64, error) {
	v, n := binary.Varint(k.data)
	switch {
	case n == 0:
		return 0, errShort
	case n < 0:
		return 0, errors.New("a number has more than 64 bits")
	}
	k.data = k.data[n:]
	return v, nil
}

func (k *checker) skip(n int64) error {
	if n < 0 {
		return fmt.Errorf("the length must not be negative, got %d", n)
	}
	if n > int64(len(k.data)) {
		return errShort
	}
	k.data = k.data[n:]
	return nil
}

// counted skips a length and that many bytes.
func (k *checker) counted() error {
	n, err := k.long()
	if err != nil {
		return err
	}
	return k.skip(n)
}

func (k *checker) choice(kind string, n int, then func(int) error) error {
	i, err := k.long()
	switch {
	case err != nil:
		return err
	case i < 0 || i >= int64(n):
		return fmt.Errorf("%s index is %d, must be at least 0 and less than %d", kind, i, n)
	case then == nil:
		return nil
	}
	return then(int(i))
}

// blocks calls item for each item of an array or a map, whose items are encoded in blocks.
func (k *checker) blocks(item func(i int) error) error {
	for i := 0; ; {
		n, err := k.long()
		if err != nil || n == 0 {
			return err
		}
		end := -1 // length of the data after the block, if the block has a size
		if n < 0 {
			size, err := k.long()
			if err != nil {
				return err
			}
			if size < 0 || size > int64(len(k.data)) {
				return errShort
			}
			n, end = -n, len(k.data)-int(size)
		}
		if n < 0 || n > int64(k.items) {
			return errors.New("the number of items of a block is more than the data can hold")
		}
		k.items -= int(n)
		for range n {
			if err := item(i); err != nil {
				return err
			}
			i++
		}
		if end >= 0 && len(k.data) != end {
			return errors.New("the size of a block is wrong")
		}
	}
}
