package memory_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/trunkline/trunkline/bus"
	"github.com/trunkline/trunkline/bus/driver"
	"github.com/trunkline/trunkline/transport/memory"
)

func TestNamedLogIsSharedWhileOpen(t *testing.T) {
	t.Parallel()
	ctx := bounded(t)
	open := func(url string) *bus.Bus {
		b, err := bus.Open(ctx, url)
		require.NoError(t, err)
		return b
	}
	first := open("memory://shared-by-test?partitions=4&max_records=10&max_bytes=1000&max_age=1h&revoke_timeout=1s")
	require.NoError(t, first.CreateTopic(ctx, bus.TopicSpec{Name: "t"}))
	second := open("memory://shared-by-test")
	info, err := second.DescribeTopic(ctx, "t")
	require.NoError(t, err)
	require.EqualValues(t, 4, info.Partitions)
	third := open("memory://shared-by-test?partitions=4")
	_, err = bus.Open(ctx, "memory://shared-by-test?partitions=5")
	requireCode(t, driver.CodeInvalidArgument, err)
	private := open("memory://")
	names, err := private.ListTopics(ctx)
	require.NoError(t, err)
	require.Empty(t, names)
	for _, b := range []*bus.Bus{first, second, third, private} {
		require.NoError(t, b.Close())
		require.NoError(t, b.Close())
	}
	again := open("memory://shared-by-test?partitions=5")
	names, err = again.ListTopics(ctx)
	require.NoError(t, err)
	require.Empty(t, names, "the log was dropped when its last transport was closed")
	require.NoError(t, again.Close())
}

func TestOpenRejectsInvalidURL(t *testing.T) {
	t.Parallel()
	for _, url := range []string{
		"memory://a?unknown=1", "memory://a/b", "memory://a,b", "memory://a?partitions=0", "memory://a?partitions=1000000",
		"memory://a?max_records=-1", "memory://a?max_bytes=x", "memory://a?max_age=-1s", "memory://a?revoke_timeout=0s",
		"memory://?partitions=99999999999999",
	} {
		_, err := bus.Open(t.Context(), url)
		requireCode(t, driver.CodeInvalidArgument, err)
	}
}

func TestNewRejectsInvalidOptions(t *testing.T) {
	t.Parallel()
	l, err := memory.NewLog()
	require.NoError(t, err)
	for name, opts := range map[string][]memory.Option{
		"partitions":         {memory.WithPartitions(0)},
		"records":            {memory.WithMaxRecords(0)},
		"bytes":              {memory.WithMaxBytes(0)},
		"age":                {memory.WithMaxAge(-1)},
		"timeout":            {memory.WithRevokeTimeout(0)},
		"nil log":            {memory.WithLog(nil)},
		"log and log option": {memory.WithLog(l), memory.WithPartitions(3)},
	} {
		_, err := memory.New(opts...)
		require.Error(t, err, name)
		requireCode(t, driver.CodeInvalidArgument, err)
	}
	_, err = memory.NewLog(memory.WithLog(l))
	requireCode(t, driver.CodeInvalidArgument, err)
}
