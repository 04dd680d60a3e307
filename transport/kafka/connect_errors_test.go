package kafka_test

import (
	"context"
	"errors"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kfake"

	"github.com/trunkline/trunkline/bus/driver"
	"github.com/trunkline/trunkline/transport/kafka"
)

func TestUnusableCredentialsAreUnauthenticated(t *testing.T) {
	t.Parallel()
	c, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.EnableSASL(), kfake.Superuser("PLAIN", "ada", "hunter2"), kfake.SeedTopics(1, "topic"))
	require.NoError(t, err)
	t.Cleanup(c.Close)
	with := func(password string, err error) *kafka.Transport {
		k, failed := kafka.New(c.ListenAddrs(), kafka.WithInsecureSASL(), kafka.WithSASLPlain("ada", func(context.Context) (string, error) { return password, err }))
		require.NoError(t, failed)
		t.Cleanup(func() { require.NoError(t, k.Close(context.Background())) })
		return k
	}
	good := with("hunter2", nil)
	require.NoError(t, good.Ready(testContext(t)))
	requirePublished(t, publish(t, good, "topic", anyPartition("x")...))

	// The embedded broker closes the connection after a wrong password, where Kafka sends an
	// error. The test therefore uses a credential that fails on the client's side.
	bad := with("", errors.New("no such file"))
	seen := observe(bad)
	require.Equal(t, driver.CodeUnauthenticated, driver.CodeOf(seen.await(t, driver.Refused).Cause))
	require.Equal(t, driver.CodeUnauthenticated, driver.CodeOf(bad.Ready(testContext(t))))
	require.Equal(t, driver.CodeUnauthenticated, driver.CodeOf(publish(t, bad, "topic", anyPartition("x")...)[0].Err))
	require.Equal(t, driver.CodeUnauthenticated, driver.CodeOf(bad.Ping(testContext(t))))
}
