package consumer_test

import (
	"context"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/stretchr/testify/require"

	"github.com/trunkline/trunkline/bus"
	"github.com/trunkline/trunkline/bus/consumer"
)

// dead makes n messages.
func dead(n int) []*message.Message {
	ms := make([]*message.Message, n)
	for i := range ms {
		ms[i] = message.NewMessage("id", []byte("0"))
	}
	return ms
}

// model is what the last wish says. Each wish is told to the consumer under the lock, so
// that both see the same order.
type model struct {
	mu      sync.Mutex
	started bool
	paused  bool
}

// wishes has many goroutines ask for this and that.
func wishes(t *testing.T, seed uint64) {
	const workers, steps, messages = 8, 40, 200
	r := newRig(t, 4)
	var mu sync.Mutex
	acked, running := map[int]int{}, map[string]int{}
	var faults []string
	last := map[string]int{}
	c := r.consumer(t, func(ctx context.Context, d *bus.Delivery) error {
		key, n := string(d.Key), number(d)
		mu.Lock()
		running[key]++
		if running[key] > 1 {
			faults = append(faults, "two of a key at once")
		}
		if before, ok := last[key]; ok && n > before+16 {
			faults = append(faults, "a message was skipped")
		}
		mu.Unlock()
		time.Sleep(time.Duration(n%13) * time.Millisecond)
		mu.Lock()
		defer mu.Unlock()
		running[key]--
		if n%11 == 3 && d.Attempt == 1 {
			return errPlease
		}
		acked[n]++
		last[key] = max(last[key], n)
		return nil
	}, consumer.Subscribe(bus.OrderByKey()), consumer.WithWorkers(16), consumer.WithRetry(consumer.Retry{Min: time.Millisecond, Max: 20 * time.Millisecond}))

	var m model
	wish := func(rng *rand.Rand) {
		m.mu.Lock()
		defer m.mu.Unlock()
		switch rng.IntN(4) {
		case 0:
			m.started = true
			require.NoError(t, c.Start())
		case 1:
			m.started = false
			require.NoError(t, c.Stop())
		case 2:
			m.paused = true
			c.Pause()
		case 3:
			m.paused = false
			c.Resume()
		}
	}
	var all sync.WaitGroup
	for w := range workers {
		rng := rand.New(rand.NewPCG(seed, uint64(w)))
		all.Go(func() {
			for range steps {
				time.Sleep(time.Duration(rng.IntN(4)) * time.Duration(rng.IntN(20)) * time.Millisecond)
				switch rng.IntN(10) {
				case 0: // not in the model: it may be overtaken, but must return
					ctx, cancel := context.WithTimeout(context.Background(), time.Hour)
					if err := c.StopAndWait(ctx); err != nil {
						mu.Lock()
						faults = append(faults, "StopAndWait: "+err.Error())
						mu.Unlock()
					}
					cancel()
					m.mu.Lock()
					if m.started { // somebody else's wish, or this one's: say it again
						require.NoError(t, c.Start())
					}
					m.mu.Unlock()
				case 1:
					if err := r.faults.Rebalance("g", "t"); err != nil && bus.CodeOf(err) != bus.CodeNotFound {
						panic(err)
					}
				default:
					wish(rng)
				}
			}
		})
	}
	all.Go(func() {
		for i := range messages {
			r.publish(t, i, 1, byKey(16))
			time.Sleep(3 * time.Millisecond)
		}
	})
	all.Wait()
	m.mu.Lock()
	want := consumer.Stopped
	if m.started {
		want = consumer.Consuming
	}
	if c.State() == consumer.Initialising {
		want = consumer.Initialising // nobody wished
	}
	paused := m.paused
	m.mu.Unlock()
	elapse(time.Hour)
	require.Equal(t, want, c.State(), "the last wish")
	require.Equal(t, paused, c.Paused())
	c.Resume()
	consuming(t, c)
	elapse(time.Hour)
	mu.Lock()
	require.Empty(t, faults)
	require.Len(t, acked, messages, "nothing is lost")
	mu.Unlock()
	require.NoError(t, c.Close(context.Background()))
	var committed int64
	for p := range int32(4) {
		committed += r.committed(p)
	}
	require.EqualValues(t, messages, committed)
}
