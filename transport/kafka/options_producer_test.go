package kafka

import (
	"testing"
	"time"

	"github.com/IBM/sarama"
	"github.com/stretchr/testify/require"
)

func TestRetriesLastForTheDeliveryTimeout(t *testing.T) {
	t.Parallel()
	for _, d := range []time.Duration{time.Second, 2 * time.Second, 30 * time.Second, 10 * time.Minute} {
		c := sarama.NewConfig()
		producerOptions{deliveryTimeout: d}.apply(c)
		total := time.Duration(0)
		for i := 1; i <= c.Producer.Retry.Max; i++ {
			total += c.Producer.Retry.BackoffFunc(i, c.Producer.Retry.Max)
		}
		require.LessOrEqual(t, total, d)
		require.Greater(t, total, d-slowPause, "%d retries for %v", c.Producer.Retry.Max, d)
	}
}
