package consumer_test

import (
	"context"
	"math/rand/v2"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/trunkline/trunkline/bus"
	"github.com/trunkline/trunkline/bus/consumer"
)

// messages makes n messages.
func messages(n int) []*message.Message {
	ms := make([]*message.Message, n)
	for i := range ms {
		ms[i] = message.NewMessage("id", []byte("0"))
	}
	return ms
}

// model has the state that was last requested. Each request is made under the lock, so that
// the model and the consumer get them in the same order.
type model struct {
	mu      sync.Mutex
	started bool
	paused  bool
}

// randomRequests makes requests from many goroutines.
func randomRequests(t *testing.T, seed uint64) {
	const goroutines, steps, published = 8, 40, 200
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
			faults = append(faults, "two messages of a key were handled at the same time")
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
			return errTest
		}
		acked[n]++
		last[key] = max(last[key], n)
		return nil
	}, bus.OrderByKey(), bus.Concurrency(16), bus.Backoff(time.Millisecond, 20*time.Millisecond))

	var m model
	request := func(rng *rand.Rand) {
		m.mu.Lock()
		defer m.mu.Unlock()
		switch rng.IntN(4) {
		case 0:
			m.started = true
			assert.NoError(t, c.Start())
		case 1:
			m.started = false
			assert.NoError(t, c.Stop())
		case 2:
			m.paused = true
			c.Pause()
		case 3:
			m.paused = false
			c.Resume()
		}
	}
	var all sync.WaitGroup
	for w := range goroutines {
		rng := rand.New(rand.NewPCG(seed, uint64(w)))
		all.Go(func() {
			for range steps {
				time.Sleep(time.Duration(rng.IntN(4)) * time.Duration(rng.IntN(20)) * time.Millisecond)
				switch rng.IntN(10) {
				case 0: // not in the model: another request can follow at once, but it must return
					ctx, cancel := context.WithTimeout(context.Background(), time.Hour)
					if err := c.StopAndWait(ctx); err != nil {
						mu.Lock()
						faults = append(faults, "StopAndWait: "+err.Error())
						mu.Unlock()
					}
					cancel()
					m.mu.Lock()
					if m.started { // StopAndWait came after the Start of the model: start again
						assert.NoError(t, c.Start())
					}
					m.mu.Unlock()
				case 1:
					if err := r.faults.Rebalance("g", "t"); err != nil && bus.CodeOf(err) != bus.CodeNotFound {
						panic(err)
					}
				default:
					request(rng)
				}
			}
		})
	}
	all.Go(func() {
		for i := range published {
			m := message.NewMessage(strconv.Itoa(i), []byte(strconv.Itoa(i)))
			bus.SetKey(m, byKey(16)(i))
			assert.NoError(t, r.Publish("t", m))
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
		want = consumer.Initialising // no request was made
	}
	paused := m.paused
	m.mu.Unlock()
	elapse(time.Hour)
	require.Equal(t, want, c.State(), "the last request")
	require.Equal(t, paused, c.Paused())
	c.Resume()
	consuming(t, c)
	elapse(time.Hour)
	mu.Lock()
	require.Empty(t, faults)
	require.Len(t, acked, published, "no message is lost")
	mu.Unlock()
	require.NoError(t, c.Shutdown(context.Background()))
	var committed int64
	for p := range int32(4) {
		committed += r.committed(p)
	}
	require.EqualValues(t, published, committed)
}
