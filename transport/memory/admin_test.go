package memory_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/trunkline/trunkline/bus/driver"
	"github.com/trunkline/trunkline/transport/memory"
)

func TestTopicsAreCreatedListedAndDeleted(t *testing.T) {
	t.Parallel()
	tr := newTransport(t, memory.WithPartitions(3))
	ctx := bounded(t)
	require.NoError(t, tr.CreateTopic(ctx, driver.TopicSpec{Name: "b"}))
	require.NoError(t, tr.CreateTopic(ctx, driver.TopicSpec{Name: "a", Partitions: 5, ReplicationFactor: 3}))
	requireCode(t, driver.CodeAlreadyExists, tr.CreateTopic(ctx, driver.TopicSpec{Name: "a"}))
	names, err := tr.ListTopics(ctx)
	require.NoError(t, err)
	require.Equal(t, []string{"a", "b"}, names)
	info, err := tr.DescribeTopic(ctx, "b")
	require.NoError(t, err)
	require.Equal(t, driver.TopicInfo{Name: "b", Partitions: 3}, info)
	require.NoError(t, tr.DeleteTopic(ctx, "b"))
	requireCode(t, driver.CodeNotFound, tr.DeleteTopic(ctx, "b"))
	_, err = tr.DescribeTopic(ctx, "b")
	requireCode(t, driver.CodeNotFound, err)
	canceled, cancel := context.WithCancel(ctx)
	cancel()
	requireCode(t, driver.CodeCanceled, tr.CreateTopic(canceled, driver.TopicSpec{Name: "c"}))
}

func TestCreateTopicRejectsInvalidSpec(t *testing.T) {
	t.Parallel()
	tr := newTransport(t)
	for name, spec := range map[string]driver.TopicSpec{
		"empty name":      {},
		"dot":             {Name: "."},
		"slash":           {Name: "a/b"},
		"250 characters":  {Name: strings.Repeat("x", 250)},
		"partitions":      {Name: "a", Partitions: -1},
		"unknown":         {Name: "a", Config: map[string]string{"compression.type": "zstd"}},
		"not a number":    {Name: "a", Config: map[string]string{memory.ConfigRetentionBytes: "many"}},
		"zero":            {Name: "a", Config: map[string]string{memory.ConfigRetentionRecords: "0"}},
		"negative age":    {Name: "a", Config: map[string]string{memory.ConfigRetentionMS: "-2"}},
		"overflowing age": {Name: "a", Config: map[string]string{memory.ConfigRetentionMS: "9223372036854775807"}},
	} {
		requireCode(t, driver.CodeInvalidArgument, tr.CreateTopic(t.Context(), spec))
		names, err := tr.ListTopics(t.Context())
		require.NoError(t, err)
		require.Empty(t, names, name)
	}
}

func TestTopicConfigOverridesRetention(t *testing.T) {
	t.Parallel()
	tr := newTransport(t, memory.WithMaxAge(time.Nanosecond))
	require.NoError(t, tr.CreateTopic(t.Context(), driver.TopicSpec{Name: "t", Config: map[string]string{
		memory.ConfigRetentionRecords: "2", memory.ConfigRetentionBytes: "5", memory.ConfigRetentionMS: "-1"}}))
	for _, m := range []string{"a", "b", "c", "dddd"} {
		mustPublish(t, tr, m)
	}
	require.Equal(t, []string{"c", "dddd"}, payloads(fetch(t, assigned(t, subscribe(t, tr, driver.Subscription{}))[0])))
	requireCode(t, driver.CodeTooLarge, publish(bounded(t), tr, "eeeeee").Err)
}

func TestDeleteTopicEndsSessionsAndClaims(t *testing.T) {
	t.Parallel()
	tr := newTransport(t)
	createTopic(t, tr, 1)
	mustPublish(t, tr, "old")
	member, reader := inGroup(t, tr), subscribe(t, tr, driver.Subscription{})
	claims := append(assigned(t, member), assigned(t, reader)...)
	require.NoError(t, claims[0].Commit(t.Context(), 1, ""))
	require.NoError(t, tr.DeleteTopic(t.Context(), "t"))
	for _, s := range []driver.Session{member, reader} {
		_, err := s.Next(bounded(t))
		requireCode(t, driver.CodeNotFound, err)
	}
	for _, c := range claims {
		requireCode(t, driver.CodeNotFound, context.Cause(c.Context()))
		c.Release()
	}
	_, err := subscribe(t, tr, driver.Subscription{}).Next(bounded(t))
	requireCode(t, driver.CodeNotFound, err)

	createTopic(t, tr, 1)
	mustPublish(t, tr, "new")
	require.Equal(t, []string{"new"}, payloads(fetch(t, assigned(t, inGroup(t, tr))[0])), "a topic that is created again is empty")
}
