package presence_test

import (
	"reflect"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/trunkline/trunkline/rpc/presence"
)

// Whatever comes in, Decode returns; and what it accepts can be announced again, unless
// it is longer when it is written out.
func FuzzDecode(f *testing.F) {
	for _, a := range []presence.Announcement{
		{Instance: presence.Instance{Service: "s", ID: "i"}, TTL: time.Second},
		{Instance: presence.Instance{Service: "s", ID: "i", Version: "1", Topics: []string{"a", "b"}, Metadata: map[string]string{"k": "v"},
			Started: time.Date(2026, 1, 2, 3, 4, 5, 6, time.UTC)}, Gone: true, TTL: time.Hour},
	} {
		m, err := a.Encode()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(m.Metadata.Get(presence.Header), []byte(m.Payload))
	}
	f.Add("1 here", []byte(`{"service":"s","instance":"i","ttl_ms":3600001}`))
	f.Add("2 here", []byte(`{}`))
	f.Add("1 gone", []byte(`[`))
	f.Fuzz(func(t *testing.T, header string, payload []byte) {
		m := message.NewMessage("id", payload)
		m.Metadata.Set(presence.Header, header)
		a, err := presence.Decode(m)
		if err != nil {
			if len(err.Error()) > 200 {
				t.Fatalf("the error is as long as what came: %d bytes", len(err.Error()))
			}
			return
		}
		if a.TTL < time.Millisecond || a.TTL > time.Hour {
			t.Fatalf("it holds for %v", a.TTL)
		}
		again, err := a.Encode()
		if err != nil {
			if len(payload) > 4096 {
				return
			}
			t.Fatalf("%+v: %v", a, err)
		}
		b, err := presence.Decode(again)
		if err != nil {
			t.Fatal(err)
		}
		if !a.Started.Equal(b.Started) {
			t.Fatalf("%v became %v", a.Started, b.Started)
		}
		a.Started, b.Started = time.Time{}, time.Time{}
		if len(a.Topics)+len(b.Topics) == 0 {
			a.Topics, b.Topics = nil, nil
		}
		if len(a.Metadata)+len(b.Metadata) == 0 {
			a.Metadata, b.Metadata = nil, nil
		}
		if !reflect.DeepEqual(a, b) {
			t.Fatalf("%+v became %+v", a, b)
		}
	})
}
