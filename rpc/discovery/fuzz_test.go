package discovery_test

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/trunkline/trunkline/bus/codec"
	"github.com/trunkline/trunkline/rpc"
)

// FuzzServiceStats checks that decoding returns for any answer of a server, and that an answer
// which it accepts can be encoded and decoded again without a change.
func FuzzServiceStats(f *testing.F) {
	for _, s := range []rpc.ServiceStats{
		{},
		{Service: "s", Instance: "i", Version: "1", Started: time.Unix(1_700_000_000, 5).UTC(), Topics: []string{"t"}, Total: rpc.ServerStats{Requests: 3},
			Methods: []rpc.MethodStats{{Method: "m", Requests: 2, Errors: map[string]uint64{"NotFound": 1}, InFlight: 1,
				Latency: rpc.Latency{P50: time.Millisecond, Max: time.Second}, LastError: &rpc.LastError{At: time.Unix(1, 0).UTC(), Code: "NotFound", Message: "Ω"}}}},
	} {
		b, err := json.Marshal(s)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Add([]byte(`{"methods":[{"last_error":null,"latency":{"p50_ns":-1}}]}`))
	f.Add([]byte(`{"topics":null}`))
	f.Fuzz(func(t *testing.T, data []byte) { roundTrip[rpc.ServiceStats](t, data) })
}

func FuzzServiceInfo(f *testing.F) {
	f.Add([]byte(`{"service":"s","instance":"i","started":"2026-01-02T03:04:05Z","topics":["t"],"methods":[{"name":"m","request":"a"}],"metadata":{"k":"v"}}`))
	f.Add([]byte(`{"service":"s","instance":"i","version":"1"}`))
	f.Add([]byte(`[]`))
	f.Fuzz(func(t *testing.T, data []byte) {
		roundTrip[rpc.ServiceInfo](t, data)
		roundTrip[rpc.Pong](t, data)
	})
}

func roundTrip[T any](t *testing.T, data []byte) {
	var v T
	if codec.JSON.Unmarshal(data, &v) != nil {
		return
	}
	once, err := codec.JSON.Marshal(v)
	if err != nil {
		t.Fatalf("%+v: %v", v, err)
	}
	var again T
	if err := codec.JSON.Unmarshal(once, &again); err != nil {
		t.Fatal(err)
	}
	twice, err := codec.JSON.Marshal(again)
	if err != nil || string(once) != string(twice) {
		t.Fatalf("%s was encoded again as %s: %v", once, twice, err)
	}
}
