package presence

import (
	"reflect"
	"testing"
	"time"

	"github.com/trunkline/trunkline/bus"
)

// FuzzDecode checks that decode returns for any input, and that an announcement which it
// accepts can be encoded and decoded again without a change.
func FuzzDecode(f *testing.F) {
	for _, a := range []announcement{
		{Instance: Instance{Service: "s", ID: "i"}, ttl: time.Second},
		{Instance: Instance{Service: "s", ID: "i", Version: "1", Topics: []string{"a", "b"}, Metadata: map[string]string{"k": "v"},
			Started: time.Date(2026, 1, 2, 3, 4, 5, 6, time.UTC)}, gone: true, ttl: time.Hour},
	} {
		r, err := a.encode()
		if err != nil {
			f.Fatal(err)
		}
		value, _ := r.Header(header)
		f.Add(value, r.Payload)
	}
	f.Add("1 here", []byte(`{"service":"s","instance":"i","ttl_ms":3600001}`))
	f.Add("2 here", []byte(`{}`))
	f.Add("1 gone", []byte(`[`))
	f.Fuzz(func(t *testing.T, value string, body []byte) {
		a, err := decode(&bus.Record{Headers: []bus.Header{{Key: header, Value: value}}, Payload: body})
		if err != nil {
			if len(err.Error()) > 200 {
				t.Fatalf("the error text has %d bytes", len(err.Error()))
			}
			return
		}
		if a.ttl < time.Millisecond || a.ttl > time.Hour {
			t.Fatalf("the time to live is %v", a.ttl)
		}
		again, err := a.encode()
		if err != nil {
			if len(body) > 4096 {
				return // the encoding may be longer than it was
			}
			t.Fatalf("%+v: %v", a, err)
		}
		b, err := decode(again)
		if err != nil {
			t.Fatal(err)
		}
		if !a.Started.Equal(b.Started) {
			t.Fatalf("Started %v was decoded again as %v", a.Started, b.Started)
		}
		a.Started, b.Started = time.Time{}, time.Time{}
		if len(a.Topics)+len(b.Topics) == 0 {
			a.Topics, b.Topics = nil, nil
		}
		if len(a.Metadata)+len(b.Metadata) == 0 {
			a.Metadata, b.Metadata = nil, nil
		}
		if !reflect.DeepEqual(a, b) {
			t.Fatalf("%+v was decoded again as %+v", a, b)
		}
	})
}
