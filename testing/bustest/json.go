package bustest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"

	"github.com/ThreeDotsLabs/watermill/message"
)

// JSON is a payload that means the same as v's JSON: the order of members and white space
// don't matter, numbers are compared as they are written. v is any value; text that is
// JSON already is a json.RawMessage.
func JSON(v any) Property {
	body, err := json.Marshal(v)
	return Property{
		name: "JSON " + text(body, 200),
		set:  func(m *message.Message) error { m.Payload = bytes.Clone(body); return err },
		unlike: func(d *Delivery) string {
			return unlikeJSON(body, err, d, false)
		},
	}
}

// Includes is a payload whose JSON has at least what v's JSON has: of an object the members
// that v has, each of which includes v's; anything else as in [JSON]. It can't be given.
func Includes(v any) Property {
	body, err := json.Marshal(v)
	return Property{name: "JSON that includes " + text(body, 200), unlike: func(d *Delivery) string {
		return unlikeJSON(body, err, d, true)
	}}
}

func unlikeJSON(want []byte, err error, d *Delivery, partly bool) string {
	if err != nil {
		return "what is expected can't be made JSON: " + oneLine(err)
	}
	var is, should any
	if err := decode(d.Payload, &is); err != nil {
		return "its payload is no JSON: " + oneLine(err)
	}
	if err := decode(want, &should); err != nil {
		return "what is expected is no JSON: " + oneLine(err)
	}
	return differ("", is, should, partly)
}

// decode keeps numbers as they are written.
func decode(data []byte, v any) error {
	d := json.NewDecoder(bytes.NewReader(data))
	d.UseNumber()
	if err := d.Decode(v); err != nil {
		return err
	}
	if _, err := d.Token(); err != io.EOF {
		return fmt.Errorf("something follows the JSON at byte %d", d.InputOffset())
	}
	return nil
}

// differ says where the first difference is, "" when there is none.
func differ(at string, is, should any, partly bool) string {
	switch should := should.(type) {
	case map[string]any:
		is, ok := is.(map[string]any)
		if !ok {
			break
		}
		for _, name := range slices.Sorted(maps.Keys(should)) {
			got, ok := is[name]
			if !ok {
				return where(at+"."+name) + " is not there, want " + compact(should[name])
			}
			if d := differ(at+"."+name, got, should[name], partly); d != "" {
				return d
			}
		}
		for _, name := range slices.Sorted(maps.Keys(is)) {
			if _, ok := should[name]; !ok && !partly {
				return where(at+"."+name) + " is " + compact(is[name]) + ", want none"
			}
		}
		return ""
	case []any:
		is, ok := is.([]any)
		if !ok {
			break
		}
		if len(is) != len(should) {
			return fmt.Sprintf("%s has %d elements, want %d", where(at), len(is), len(should))
		}
		for i := range should {
			if d := differ(at+"["+strconv.Itoa(i)+"]", is[i], should[i], partly); d != "" {
				return d
			}
		}
		return ""
	default:
		switch is.(type) {
		case map[string]any, []any:
		default:
			if is == should {
				return ""
			}
		}
	}
	return where(at) + " is " + compact(is) + ", want " + compact(should)
}

func where(at string) string {
	if at == "" {
		return "its JSON"
	}
	return "in its JSON " + at
}

func compact(v any) string {
	b, err := json.Marshal(v)
	if err != nil {
		return fmt.Sprint(v)
	}
	return excerpt(string(b), 100)
}
