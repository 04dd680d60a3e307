package memory_test

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/trunkline/trunkline/bus/driver"
	"github.com/trunkline/trunkline/transport/memory"
)

// compacted returns a transport with a compacted topic "t" of one partition.
func compacted(t require.TestingT, config map[string]string, opts ...memory.Option) *memory.Transport {
	tr, err := memory.New(opts...)
	require.NoError(t, err)
	all := map[string]string{memory.ConfigCleanupPolicy: "compact"}
	for k, v := range config {
		all[k] = v
	}
	require.NoError(t, tr.CreateTopic(context.Background(), driver.TopicSpec{Name: "t", Config: all}))
	return tr
}

func withKey(key string) func(*driver.Outgoing) {
	return func(o *driver.Outgoing) { o.Key = []byte(key) }
}

// contents reads the topic from start to its end, as "offset:key=payload".
func contents(t require.TestingT, tr *memory.Transport, start driver.Start) []string {
	_, end, err := tr.Log().Offsets("t", 0)
	require.NoError(t, err)
	s, err := tr.Subscribe(context.Background(), driver.Subscription{Topic: "t", Start: start, MaxFetch: 3})
	require.NoError(t, err)
	defer func() { require.NoError(t, s.Close(context.Background())) }()
	soon, stop := context.WithTimeout(context.Background(), wait)
	defer stop()
	e, err := s.Next(soon)
	require.NoError(t, err)
	require.Len(t, e.Added, 1)
	none, cancel := context.WithCancel(context.Background())
	var all []string
	for {
		// If the last record was a tombstone that has expired, Fetch waits until the timer
		// fires. That happens only under synctest, where it takes no time.
		stop := time.AfterFunc(wait, cancel)
		records, err := e.Added[0].Fetch(none)
		stop.Stop()
		if err != nil {
			return all
		}
		for _, r := range records {
			all = append(all, fmt.Sprintf("%d:%s=%s", r.Offset, r.Key, r.Payload))
			if r.Offset == end-1 {
				cancel()
				return all
			}
		}
	}
}

func TestCompactionKeepsLatestRecordOfEachKey(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		tr := compacted(t, nil)
		defer tr.Close(t.Context())
		for i, key := range []string{"a", "b", "a", "c", "a", "b"} {
			require.Equal(t, driver.Outcome{Offset: int64(i)}, publish(t.Context(), tr, fmt.Sprint(i), withKey(key)))
		}
		want := []string{"3:c=3", "4:a=4", "5:b=5"}
		require.Equal(t, want, contents(t, tr, driver.Start{}))
		require.Equal(t, want, contents(t, tr, driver.Start{Kind: driver.StartAtOffset, Offset: 1}), "reading continues after a gap")
		require.Equal(t, want[1:], contents(t, tr, driver.Start{Kind: driver.StartAtOffset, Offset: 4}))
		oldest, end, err := tr.Log().Offsets("t", 0)
		require.NoError(t, err)
		require.Equal(t, []int64{0, 6}, []int64{oldest, end}, "compaction does not move the oldest offset")
	})
}

func TestTombstonesExpire(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		tr := compacted(t, map[string]string{memory.ConfigDeleteRetentionMS: "60000"})
		defer tr.Close(t.Context())
		publish(t.Context(), tr, "1", withKey("a"))
		publish(t.Context(), tr, "2", withKey("b"))
		publish(t.Context(), tr, "", withKey("a"))
		require.Equal(t, []string{"1:b=2", "2:a="}, contents(t, tr, driver.Start{}), "a tombstone is delivered")
		time.Sleep(61 * time.Second)
		require.Equal(t, []string{"1:b=2"}, contents(t, tr, driver.Start{}))
		publish(t.Context(), tr, "3", withKey("a"))
		require.Equal(t, []string{"1:b=2", "3:a=3"}, contents(t, tr, driver.Start{}))
		publish(t.Context(), tr, "", withKey("a"))
		publish(t.Context(), tr, "4", withKey("a"))
		time.Sleep(61 * time.Second)
		require.Equal(t, []string{"1:b=2", "5:a=4"}, contents(t, tr, driver.Start{}), "a record that replaced a tombstone stays")
	})
}

func TestMaxAgeAppliesOnlyWithDeletePolicy(t *testing.T) {
	t.Parallel()
	for policy, want := range map[string][]string{"compact": {"0:a=1"}, "compact,delete": nil, "delete": nil} {
		t.Run(policy, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				tr := compacted(t, map[string]string{memory.ConfigCleanupPolicy: policy, memory.ConfigRetentionMS: "1000"})
				defer tr.Close(t.Context())
				publish(t.Context(), tr, "1", withKey("a"))
				time.Sleep(2 * time.Second)
				require.Equal(t, want, contents(t, tr, driver.Start{}))
			})
		})
	}
}

func TestCompactedTopicRejectsMissingKeyAndUnknownPolicy(t *testing.T) {
	t.Parallel()
	tr := compacted(t, nil)
	defer tr.Close(t.Context())
	r := publish(t.Context(), tr, "no key")
	require.Equal(t, driver.CodeInvalidArgument, driver.CodeOf(r.Err))
	for _, policy := range []string{"", "compress", "compact,compress"} {
		err := tr.CreateTopic(t.Context(), driver.TopicSpec{Name: "other", Config: map[string]string{memory.ConfigCleanupPolicy: policy}})
		require.Equal(t, driver.CodeInvalidArgument, driver.CodeOf(err), "%q", policy)
	}
}

// A full partition accepts a record of a key that it has, because the record replaces the
// older one, read or unread.
func TestFullCompactedPartitionAcceptsExistingKey(t *testing.T) {
	t.Parallel()
	tr := compacted(t, nil, memory.WithMaxRecords(2))
	defer tr.Close(t.Context())
	s, err := tr.Subscribe(t.Context(), driver.Subscription{Topic: "t", MaxFetch: 1})
	require.NoError(t, err)
	defer s.Close(t.Context())
	for i := range 1000 {
		key := "a"
		if i == 0 {
			key = "b"
		}
		require.NoError(t, publish(t.Context(), tr, fmt.Sprint(i), withKey(key)).Err)
	}
	soon, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	require.Equal(t, driver.CodeDeadlineExceeded, driver.CodeOf(publish(soon, tr, "no space", withKey("c")).Err))
	require.Equal(t, []string{"0:b=0", "999:a=999"}, contents(t, tr, driver.Start{}))
}

// The model is a map from key to offset.
func TestCompactionMatchesModel(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		most := rapid.IntRange(1, 40).Draw(rt, "max records")
		keys := rapid.IntRange(1, 60).Draw(rt, "keys")
		tr := compacted(rt, nil, memory.WithMaxRecords(most))
		defer func() { require.NoError(rt, tr.Close(context.Background())) }()
		ctx, cancel := context.WithTimeout(context.Background(), wait)
		defer cancel()
		latest := map[string]int64{} // the expected offsets
		var order []string           // the keys, in the order of their latest record
		for offset := range int64(rapid.IntRange(1, 400).Draw(rt, "records")) {
			key := fmt.Sprint(rapid.IntRange(1, keys).Draw(rt, "key"))
			require.Equal(rt, driver.Outcome{Offset: offset}, publish(ctx, tr, "x", withKey(key)))
			order = append(slices.DeleteFunc(order, func(k string) bool { return k == key }), key)
			latest[key] = offset
			for len(order) > most {
				order = order[1:]
			}
		}
		var want []string
		for _, key := range order {
			want = append(want, fmt.Sprintf("%d:%s=x", latest[key], key))
		}
		require.Equal(rt, want, contents(rt, tr, driver.Start{}))
	})
}
