package memory_test

import (
	"bytes"
	"context"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/trunkline/trunkline/bus/driver"
	"github.com/trunkline/trunkline/transport/memory"
)

// Records of every shape are delivered as they were published, to every reader. A reader that
// changes its bytes does not affect the others.
func TestRecordsOfAnyShapeRoundTrip(t *testing.T) {
	t.Parallel()
	text := rapid.OneOf(rapid.String(), rapid.Map(rapid.IntRange(0, 100_000), func(n int) string { return strings.Repeat("é", n) }))
	blob := rapid.OneOf(rapid.Just([]byte(nil)), rapid.Just([]byte{}), rapid.SliceOfN(rapid.Byte(), 0, 300),
		rapid.Map(rapid.IntRange(0, 200_000), func(n int) []byte { return bytes.Repeat([]byte{7}, n) }))
	name := rapid.Map(rapid.String(), func(s string) string { return "h-" + s })
	rapid.Check(t, func(rt *rapid.T) {
		keep := rapid.IntRange(1, 50).Draw(rt, "kept")
		tr, err := memory.New(memory.WithMaxRecords(keep))
		require.NoError(rt, err)
		defer func() { require.NoError(rt, tr.Close(context.Background())) }()
		config := map[string]string{}
		if rapid.Bool().Draw(rt, "compact") {
			config[memory.ConfigCleanupPolicy] = "compact"
		}
		require.NoError(rt, tr.CreateTopic(context.Background(), driver.TopicSpec{Name: "t", Partitions: 1, Config: config}))
		var want []driver.Record
		ctx, cancel := context.WithTimeout(context.Background(), wait)
		defer cancel()
		sink := make(outcomes, 1)
		for i := range int64(rapid.IntRange(1, 80).Draw(rt, "records")) {
			r := driver.Record{Topic: "t", Offset: i, UUID: text.Draw(rt, "uuid"), Key: blob.Draw(rt, "key"), Payload: blob.Draw(rt, "payload"),
				Timestamp: time.Unix(rapid.Int64Range(-1<<40, 1<<40).Draw(rt, "seconds"), rapid.Int64Range(0, 999_999_999).Draw(rt, "nanos"))}
			if len(config) > 0 {
				r.Key = []byte(fmt.Sprint(i)) // no record replaces another
			}
			for range rapid.IntRange(0, 5).Draw(rt, "headers") {
				r.Headers = append(r.Headers, driver.Header{Key: name.Draw(rt, "name"), Value: text.Draw(rt, "value")})
			}
			out := driver.Outgoing{Context: ctx, Topic: "t", Partition: driver.AnyPartition, Key: bytes.Clone(r.Key),
				Timestamp: r.Timestamp, UUID: r.UUID, Headers: slices.Clone(r.Headers), Payload: bytes.Clone(r.Payload), Sink: sink}
			tr.Publish([]driver.Outgoing{out})
			require.NoError(rt, receive(rt, sink).Err)
			invert(out.Key, out.Payload)
			clear(out.Headers)
			want = append(want, r)
		}
		want = want[max(0, len(want)-keep):]
		for range 2 {
			offsets := readAll(rt, tr, rapid.IntRange(1, 100).Draw(rt, "fetch"), func(i int, r *driver.Record) {
				w := want[i]
				require.Equal(rt, w, *r)
				invert(r.Key, r.Payload)
			})
			require.Len(rt, offsets, len(want))
		}
	})
}

// readAll reads the topic from its oldest record to its end.
func readAll(t *rapid.T, tr *memory.Transport, maxFetch int, each func(i int, r *driver.Record)) (offsets []int64) {
	ctx, cancel := context.WithTimeout(context.Background(), wait)
	defer cancel()
	s, err := tr.Subscribe(ctx, driver.Subscription{Topic: "t", MaxFetch: maxFetch})
	require.NoError(t, err)
	defer func() { require.NoError(t, s.Close(context.Background())) }()
	e, err := s.Next(ctx)
	require.NoError(t, err)
	_, end, err := tr.Log().Offsets("t", 0)
	require.NoError(t, err)
	for next := int64(0); next < end; {
		records, err := e.Added[0].Fetch(ctx)
		require.NoError(t, err)
		for i := range records {
			next = records[i].Offset + 1
			each(len(offsets), &records[i])
			offsets = append(offsets, records[i].Offset)
		}
	}
	return offsets
}

func invert(all ...[]byte) {
	for _, b := range all {
		for i := range b {
			b[i] = ^b[i]
		}
	}
}

// The heap does not grow with the records that the log has dropped.
func TestDroppedRecordsAreFreed(t *testing.T) { // not parallel: it measures the heap
	for _, policy := range []string{"delete", "compact"} {
		t.Run(policy, func(t *testing.T) {
			tr := newTransport(t, memory.WithMaxRecords(100))
			require.NoError(t, tr.CreateTopic(t.Context(), driver.TopicSpec{Name: "t", Partitions: 1,
				Config: map[string]string{memory.ConfigCleanupPolicy: policy}}))
			payload := strings.Repeat("x", 10_000)
			mustPublish(t, tr, payload, keyed("kept"))
			publishMany := func() { // fifty keys, repeatedly
				for i := range 2000 {
					mustPublish(t, tr, payload, keyed(fmt.Sprint(i%50)))
				}
			}
			publishMany()
			before := heapInUse()
			for range 5 {
				publishMany()
			}
			require.Less(t, heapInUse(), before+20<<20, "after 100 MB have passed through the log")
		})
	}
}

// heapInUse returns the size of the reachable heap.
func heapInUse() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}
