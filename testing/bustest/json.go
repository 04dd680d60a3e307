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

// JSON is a payload that is equal to the JSON of v. The order of object members and white space
// do not matter. Numbers are equal if they are written the same. v is any value that
// [encoding/json] can encode; pass JSON text as a [json.RawMessage].
func JSON(v any) Property {
	body, err := json.Marshal(v)
	return Property{
		name: "JSON " + text(body, 200),
		set:  func(m *message.Message) error { m.Payload = bytes.Clone(body); return err },
		mismatch: func(d *Delivery) string {
			return mismatchJSON(body, err, d, false)
		},
	}
}

// JSONIncludes is a JSON payload that contains at least what the JSON of v contains. An object
// may have members that v does not have, at any depth. All other values must be equal, as for
// [JSON]. It can only be expected.
func JSONIncludes(v any) Property {
	body, err := json.Marshal(v)
	return Property{name: "JSON that includes " + text(body, 200), mismatch: func(d *Delivery) string {
		return mismatchJSON(body, err, d, true)
	}}
}

func mismatchJSON(want []byte, err error, d *Delivery, partial bool) string {
	if err != nil {
		return "the expected value cannot be encoded as JSON: " + oneLine(err)
	}
	var gotValue, wantValue any
	if err := decode(d.Payload, &gotValue); err != nil {
		return "its payload is not JSON: " + oneLine(err)
	}
	if err := decode(want, &wantValue); err != nil {
		return "the expected value is not JSON: " + oneLine(err)
	}
	return difference("", gotValue, wantValue, partial)
}

// decode decodes one JSON value, and keeps numbers as they are written.
func decode(data []byte, v any) error {
	d := json.NewDecoder(bytes.NewReader(data))
	d.UseNumber()
	if err := d.Decode(v); err != nil {
		return err
	}
	if _, err := d.Token(); err != io.EOF {
		return fmt.Errorf("there is more data after the JSON at byte %d", d.InputOffset())
	}
	return nil
}

// difference describes the first difference below the path, "" if there is none. With partial,
// objects in got may have more members.
func difference(path string, got, want any, partial bool) string {
	switch want := want.(type) {
	case map[string]any:
		got, ok := got.(map[string]any)
		if !ok {
			break
		}
		for _, name := range slices.Sorted(maps.Keys(want)) {
			member, ok := got[name]
			if !ok {
				return where(path+"."+name) + " is missing, want " + compact(want[name])
			}
			if d := difference(path+"."+name, member, want[name], partial); d != "" {
				return d
			}
		}
		for _, name := range slices.Sorted(maps.Keys(got)) {
			if _, ok := want[name]; !ok && !partial {
				return where(path+"."+name) + " is " + compact(got[name]) + ", want none"
			}
		}
		return ""
	case []any:
		got, ok := got.([]any)
		if !ok {
			break
		}
		if len(got) != len(want) {
			return fmt.Sprintf("%s has %d elements, want %d", where(path), len(got), len(want))
		}
		for i := range want {
			if d := difference(path+"["+strconv.Itoa(i)+"]", got[i], want[i], partial); d != "" {
				return d
			}
		}
		return ""
	default:
		switch got.(type) {
		case map[string]any, []any: // not comparable
		default:
			if got == want {
				return ""
			}
		}
	}
	return where(path) + " is " + compact(got) + ", want " + compact(want)
}

func where(path string) string {
	if path == "" {
		return "its JSON"
	}
	return "in its JSON " + path
}

func compact(v any) string {
	b, err := json.Marshal(v)
	if err != nil {
		return fmt.Sprint(v)
	}
	return excerpt(string(b), 100)
}
