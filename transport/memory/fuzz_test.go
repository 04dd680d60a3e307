package memory_test

import (
	"bytes"
	"context"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/trunkline/trunkline/bus"
	"github.com/trunkline/trunkline/bus/driver"
	"github.com/trunkline/trunkline/transport/memory"
)

// FuzzRecordRoundTrip publishes records and reads them back. It tests the encoding of records in
// the log, and the chunks that store them.
func FuzzRecordRoundTrip(f *testing.F) {
	const (
		nilKey = 1 << iota
		nilPayload
		compacted
	)
	f.Add("uuid", []byte("key"), "name=value\nname=again\nempty=", []byte("payload"), int64(1_700_000_000_000_000_001), uint8(0))
	f.Add("", []byte(nil), "", []byte(nil), int64(0), uint8(nilKey|nilPayload))
	f.Add("uuid", []byte{}, "=", []byte{}, int64(-1), uint8(compacted))
	f.Fuzz(func(t *testing.T, uuid string, key []byte, headers string, payload []byte, nanos int64, flags uint8) {
		want := driver.Record{Topic: "t", UUID: uuid, Key: key, Payload: payload, Timestamp: time.Unix(0, nanos)}
		if want.Key == nil {
			want.Key = []byte{}
		}
		if want.Payload == nil {
			want.Payload = []byte{}
		}
		if flags&nilPayload != 0 {
			want.Payload = nil
		}
		config := map[string]string{}
		if flags&compacted != 0 {
			config[memory.ConfigCleanupPolicy] = "compact"
		} else if flags&nilKey != 0 {
			want.Key = nil
		}
		for line := range strings.SplitSeq(headers, "\n") {
			if k, v, ok := strings.Cut(line, "="); ok {
				want.Headers = append(want.Headers, driver.Header{Key: k, Value: v})
			}
		}
		ctx, cancel := context.WithTimeout(t.Context(), wait)
		defer cancel()
		tr := newTransport(t)
		require.NoError(t, tr.CreateTopic(ctx, driver.TopicSpec{Name: "t", Config: config}))
		// Three records: the text of one must not run into the next. A compacted topic keeps
		// only the last.
		const records = 3
		sink := make(outcomes, records)
		for range records {
			tr.Publish([]driver.Outgoing{{Context: ctx, Topic: "t", Partition: driver.AnyPartition, UUID: want.UUID, Key: bytes.Clone(want.Key),
				Headers: want.Headers, Payload: bytes.Clone(want.Payload), Timestamp: want.Timestamp, Sink: sink}})
			require.NoError(t, receive(t, sink).Err)
		}
		first := int64(0)
		if flags&compacted != 0 {
			first = records - 1
		}
		s, err := tr.Subscribe(ctx, driver.Subscription{Topic: "t", MaxFetch: records})
		require.NoError(t, err)
		e, err := s.Next(ctx)
		require.NoError(t, err)
		got, err := e.Added[0].Fetch(ctx)
		require.NoError(t, err)
		require.Len(t, got, int(records-first))
		for i := range got {
			want.Offset = first + int64(i)
			require.Equal(t, want, got[i])
		}
	})
}

// FuzzOpenURL opens a URL twice. Either both calls return InvalidArgument, or both return a
// transport, and the two share a log if and only if the URL has a name.
func FuzzOpenURL(f *testing.F) {
	for _, rest := range []string{"", "name", "name?partitions=8&max_records=1000&max_bytes=1048576&max_age=1h&revoke_timeout=2s",
		"?partitions=0", "a,b", "a/b", "a?max_age=-1s", "a?partitions=1&partitions=2", "me:secret@name", "a#b", "a?%zz", "a?max_bytes=99999999999999999999"} {
		f.Add(rest)
	}
	f.Fuzz(func(t *testing.T, rest string) {
		url := "memory://" + rest
		first, err := driver.Open(t.Context(), url)
		second, again := driver.Open(t.Context(), url)
		if err != nil {
			require.Equal(t, bus.CodeInvalidArgument, bus.CodeOf(err))
			require.Equal(t, err, again)
			return
		}
		require.NoError(t, again)
		name, _, _ := strings.Cut(rest, "?")
		require.Equal(t, name != "" && name != "/", first.(*memory.Transport).Log() == second.(*memory.Transport).Log())
		require.NoError(t, first.Close(t.Context()))
		require.NoError(t, second.Ping(t.Context()))
		require.NoError(t, second.Close(t.Context()))
	})
}

// FuzzCreateTopic creates a topic with one configuration entry. Either CreateTopic returns
// InvalidArgument and there is no topic, or a message can be published to the topic.
func FuzzCreateTopic(f *testing.F) {
	for _, spec := range [][3]string{
		{"orders", memory.ConfigCleanupPolicy, "compact, delete"}, {"orders", memory.ConfigRetentionMS, "-1"},
		{"a.b_c-9", memory.ConfigRetentionBytes, "9223372036854775807"}, {"..", memory.ConfigRetentionRecords, "1"},
		{"orders", memory.ConfigDeleteRetentionMS, "9223372036854775807"}, {"orders", "compression.type", "zstd"}, {"", "", ""},
	} {
		f.Add(spec[0], spec[1], spec[2])
	}
	f.Fuzz(func(t *testing.T, name, key, value string) {
		ctx, cancel := context.WithTimeout(t.Context(), wait)
		defer cancel()
		tr := newTransport(t)
		err := tr.CreateTopic(ctx, driver.TopicSpec{Name: name, Config: map[string]string{key: value}})
		names, listErr := tr.ListTopics(ctx)
		require.NoError(t, listErr)
		if err != nil {
			require.Equal(t, driver.CodeInvalidArgument, driver.CodeOf(err))
			require.Empty(t, names)
			return
		}
		require.Equal(t, []string{name}, names)
		sink := make(outcomes, 1)
		tr.Publish([]driver.Outgoing{{Context: ctx, Topic: name, Partition: 0, Key: []byte{}, Sink: sink}})
		require.NoError(t, receive(t, sink).Err)
	})
}
