package consumer_test

import (
	"context"
	"net"
	"strconv"
	"sync"
	"testing"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/stretchr/testify/require"

	"github.com/trunkline/trunkline/bus"
	"github.com/trunkline/trunkline/bus/consumer"
	"github.com/trunkline/trunkline/internal/freeport"
	"github.com/trunkline/trunkline/testing/kafkatest"
	"github.com/trunkline/trunkline/testing/kafkatest/kafkatb"
)

// Two consumers start before the broker does. They share the partitions, and each takes over
// when the other stops. No message is lost.
func TestTwoConsumersOnKafkaLoseNothing(t *testing.T) {
	t.Parallel()
	port, err := freeport.Loopback()
	require.NoError(t, err)
	b := onKafka(t, []string{net.JoinHostPort("127.0.0.1", strconv.Itoa(port))})
	ctx, cancel := context.WithTimeout(t.Context(), testTimeout)
	defer cancel()

	const keys, n = 8, 400
	var mu sync.Mutex
	handled, last, changed := map[int]bool{}, map[int]int{}, make(chan struct{}, 1)
	var faults []string
	handle := func(_ context.Context, d *bus.Delivery) error {
		i := number(d)
		if i%19 == 4 && d.Attempt == 1 {
			return bus.RetryAfter(0, errTest)
		}
		mu.Lock()
		defer mu.Unlock()
		if before, ok := last[i%keys]; ok && i > before+keys {
			faults = append(faults, "a message of a key was skipped")
		}
		last[i%keys] = max(last[i%keys], i)
		handled[i] = true
		select {
		case changed <- struct{}{}:
		default:
		}
		return nil
	}
	var members []*consumer.Consumer
	for range 2 {
		c, err := consumer.New(b, "t", handle, bus.Group("g"), bus.OrderByKey(), bus.Concurrency(8))
		require.NoError(t, err)
		require.NoError(t, c.Start())
		members = append(members, c)
	}
	for change := range members[0].Watch(ctx) {
		if change.State == consumer.Starting && change.Cause != nil {
			break // the consumer has noticed that there is no broker
		}
	}
	require.NoError(t, ctx.Err())
	kafkatb.Embedded(t, kafkatest.WithPort(port), kafkatest.WithTopics(4, "t"))
	for _, c := range members {
		_, err := c.Wait(ctx, consumer.Consuming)
		require.NoError(t, err)
	}
	for i := range n {
		m := message.NewMessage("id", []byte(strconv.Itoa(i)))
		bus.SetKey(m, strconv.Itoa(i%keys))
		require.NoError(t, b.Publish("t", m))
		if i%100 == 50 { // one stops and starts again
			c := members[i/100%2]
			require.NoError(t, c.StopAndWait(ctx))
			require.NoError(t, c.Start())
		}
	}
	for done := false; !done; {
		select {
		case <-changed:
		case <-ctx.Done():
			require.Len(t, handled, n, "no message is lost")
		}
		mu.Lock()
		done = len(handled) == n
		mu.Unlock()
	}
	for _, c := range members {
		require.NoError(t, c.Shutdown(ctx))
		require.Zero(t, c.Stats().InFlight)
	}
	mu.Lock()
	defer mu.Unlock()
	require.Empty(t, faults)
}
