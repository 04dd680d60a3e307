package consumer_test

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/stretchr/testify/require"

	"github.com/trunkline/trunkline/bus"
	"github.com/trunkline/trunkline/bus/consumer"
	"github.com/trunkline/trunkline/bus/driver"
	"github.com/trunkline/trunkline/testing/bustest"
	"github.com/trunkline/trunkline/transport/memory"
)

// rig is a bus on the memory transport, with injected faults. It creates topics as needed.
type rig struct {
	*bus.Bus
	faults *bustest.Faults
	log    *memory.Log
}

func newRig(t *testing.T, partitions int32, opts ...bus.Option) *rig {
	t.Helper()
	tr, err := memory.New()
	require.NoError(t, err)
	f, err := bustest.NewFaults(tr, 1)
	require.NoError(t, err)
	b, err := bus.New(f, append([]bus.Option{bus.WithCreateTopics(bus.TopicSpec{Partitions: partitions}), bus.WithLogger(slog.New(slog.DiscardHandler))}, opts...)...)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, b.Close()) })
	require.NoError(t, tr.CreateTopic(t.Context(), driver.TopicSpec{Name: "t", Partitions: partitions}))
	return &rig{b, f, tr.Log()}
}

// publish publishes numbered messages to "t". key returns the key for a number; nil is no key.
func (r *rig) publish(t *testing.T, first, n int, key func(int) string) {
	t.Helper()
	ms := make([]*message.Message, n)
	for i := range ms {
		ms[i] = message.NewMessage(fmt.Sprint("id-", first+i), []byte(strconv.Itoa(first+i)))
		if key != nil {
			bus.SetKey(ms[i], key(first+i))
		}
	}
	require.NoError(t, r.Publish("t", ms...))
}

// consumer makes a consumer in group "g", which is closed at the end of the test.
func (r *rig) consumer(t *testing.T, h bus.Handler, opts ...consumer.Option) *consumer.Consumer {
	t.Helper()
	c, err := consumer.New(r.Bus, "t", h, append([]consumer.Option{bus.Group("g")}, opts...)...)
	require.NoError(t, err)
	t.Cleanup(func() { _ = c.Shutdown(context.Background()) })
	return c
}

func (r *rig) batchConsumer(t *testing.T, h bus.BatchHandler, opts ...consumer.Option) *consumer.Consumer {
	t.Helper()
	c, err := consumer.NewBatch(r.Bus, "t", h, append([]consumer.Option{bus.Group("g")}, opts...)...)
	require.NoError(t, err)
	t.Cleanup(func() { _ = c.Shutdown(context.Background()) })
	return c
}

// committed returns the committed offset of group "g" in a partition of "t", 0 for none.
func (r *rig) committed(partition int32) int64 {
	next, _, _ := r.log.Committed("g", "t", partition)
	return next
}

// consuming starts the consumer and waits until it is Consuming.
func consuming(t *testing.T, c *consumer.Consumer) {
	t.Helper()
	require.NoError(t, c.Start())
	wait(t, c, consumer.Consuming)
}

func wait(t *testing.T, c *consumer.Consumer, states ...consumer.State) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	_, err := c.Wait(ctx, states...)
	require.NoError(t, err)
}

func stop(t *testing.T, c *consumer.Consumer) {
	t.Helper()
	require.NoError(t, c.StopAndWait(t.Context()))
}

func number(d *bus.Delivery) int {
	n, err := strconv.Atoi(string(d.Payload))
	if err != nil {
		panic(fmt.Sprintf("received a message that was not published: %q", d.Payload))
	}
	return n
}

// journal records what handlers do, in order.
type journal struct {
	mu    sync.Mutex
	lines []string
}

func (j *journal) add(format string, args ...any) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.lines = append(j.lines, fmt.Sprintf(format, args...))
}

func (j *journal) all() []string { j.mu.Lock(); defer j.mu.Unlock(); return slices.Clone(j.lines) }

func (j *journal) len() int { j.mu.Lock(); defer j.mu.Unlock(); return len(j.lines) }

// handle records the number of the message and acknowledges it.
func (j *journal) handle(_ context.Context, d *bus.Delivery) error {
	j.add("%d", number(d))
	return nil
}

func (j *journal) handleBatch(_ context.Context, ds []*bus.Delivery) error {
	for _, d := range ds {
		j.add("%d", number(d))
	}
	return nil
}

// sequence returns n numbers from first on, as a journal has them.
func sequence(first, n int) []string {
	all := make([]string, n)
	for i := range all {
		all[i] = strconv.Itoa(first + i)
	}
	return all
}

// states collects the changes of a consumer until it is closed.
type states struct {
	done chan struct{}
	all  []consumer.Change
}

func watch(t *testing.T, c *consumer.Consumer) *states {
	s := &states{done: make(chan struct{})}
	first := make(chan struct{})
	ctx, cancel := context.WithCancel(context.Background())
	t.Cleanup(func() {
		cancel()
		<-s.done
	})
	go func() {
		defer close(s.done)
		for change := range c.Watch(ctx) {
			s.all = append(s.all, change)
			if len(s.all) == 1 {
				close(first)
			}
		}
	}()
	<-first
	return s
}

// closed waits until the consumer is closed, and returns the names of its states.
func (s *states) closed() []string {
	<-s.done
	var names []string
	for _, c := range s.all {
		names = append(names, c.State.String())
	}
	return names
}

// elapse advances the clock of a synctest bubble and waits until nothing is left to do.
func elapse(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

// receive fails the test if nothing is received within a minute.
func receive[T any](t *testing.T, from <-chan T) (v T) {
	t.Helper()
	select {
	case v = <-from:
	case <-time.After(time.Minute):
		require.FailNow(t, "nothing received")
	}
	return v
}
