package kafka_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kfake"

	"github.com/trunkline/trunkline/bus/driver"
	"github.com/trunkline/trunkline/transport/kafka"
)

func TestCredentials(t *testing.T) {
	t.Parallel()
	c, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.EnableSASL(), kfake.Superuser("PLAIN", "ada", "hunter2"), kfake.SeedTopics(1, "topic"))
	require.NoError(t, err)
	t.Cleanup(c.Close)
	with := func(password string, err error) *kafka.Transport {
		k, failed := kafka.New(c.ListenAddrs(), kafka.WithSASLPlain("ada", func(context.Context) (string, error) { return password, err }))
		require.NoError(t, failed)
		t.Cleanup(func() { require.NoError(t, k.Close(context.Background())) })
		return k
	}
	good := with("hunter2", nil)
	require.NoError(t, good.Ready(bounded(t)))
	acked(t, publish(t, good, "topic", anyPartition("x")...))

	for name, bad := range map[string]*kafka.Transport{
		"wrong": with("hunter3", nil), "missing": with("", errors.New("no such file")),
	} {
		seen := observe(bad)
		require.Equal(t, driver.Unauthenticated, driver.CodeOf(seen.await(t, driver.Refused).Cause), name)
		began := time.Now()
		err := bad.Ready(bounded(t))
		require.Equal(t, driver.Unauthenticated, driver.CodeOf(err), name)
		require.NotContains(t, err.Error(), "hunter")
		require.Equal(t, driver.Unauthenticated, driver.CodeOf(publish(t, bad, "topic", anyPartition("x")...)[0].Err), name)
		require.Less(t, time.Since(began), patience/2, "it is told at once")
		ev, err := subscribe(t, bad, driver.Subscription{Topic: "topic"}).Next(short(t))
		require.Error(t, err)
		require.False(t, ev.Assigned)
	}
}

func short(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	t.Cleanup(cancel)
	return ctx
}
