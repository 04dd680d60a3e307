package transporttest

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/trunkline/trunkline/bus"
)

var orderScenarios = []scenario{
	{name: "OrderByPartition", needs: needOrder, run: orderByPartition},
	{name: "OrderByKeyUnderRedelivery", needs: all(needOrder, needKeys, needWindow), run: orderByKey},
	{name: "NackedMessageHoldsItsKeyOnly", needs: all(needOrder, needKeys, needWindow), run: nackHoldsKey},
}

// errPlease is what handlers nack with.
var errPlease = errors.New("again, please")

func orderByPartition(t *testing.T, e *env) {
	b := e.bus(t)
	topic := e.topic(t, b, partitions)
	const publishers, each = 4, 100
	var mu sync.Mutex
	running := map[int32]int{}
	got := newLog()
	e.consume(t, b, topic, func(_ context.Context, d *bus.Delivery) error {
		mu.Lock()
		running[d.Record.Partition]++
		most := running[d.Record.Partition]
		mu.Unlock()
		defer func() {
			mu.Lock()
			defer mu.Unlock()
			running[d.Record.Partition]--
		}()
		if most > 1 {
			return bus.Stop(errors.New("two messages of a partition at once"))
		}
		if number(d)%17 == 0 && d.Attempt == 1 {
			return errPlease
		}
		got.add(d)
		return nil
	}, bus.OrderByPartition())
	var wg sync.WaitGroup
	errs := make([]error, publishers)
	for p := range publishers {
		wg.Go(func() {
			for _, m := range numbered(p*each, each, func(n int) string { return fmt.Sprint("key-", n%8) }) {
				if errs[p] = b.Publish(topic, m); errs[p] != nil {
					return
				}
			}
		})
	}
	wg.Wait()
	require.NoError(t, errors.Join(errs...))
	entries := got.count(t, e, publishers*each)
	require.Len(t, entries, publishers*each, "each is acknowledged once")
	type lane struct {
		partition int32
		publisher int
	}
	offsets, last := map[int32]int64{}, map[lane]int{}
	for _, x := range entries {
		p := x.record.Partition
		if previous, ok := offsets[p]; ok {
			require.Greater(t, x.record.Offset, previous)
		}
		offsets[p] = x.record.Offset
		l := lane{p, x.number / each}
		if previous, ok := last[l]; ok {
			require.Greater(t, x.number, previous, "publisher %d's order on partition %d", l.publisher, p)
		}
		last[l] = x.number
	}
	if e.caps.Partitions {
		require.Greater(t, len(offsets), 1, "eight keys use more than one partition")
	}
}

func orderByKey(t *testing.T, e *env) {
	b := e.bus(t)
	topic := e.topic(t, b, partitions)
	const keys, each = 8, 40
	var mu sync.Mutex
	running, next := map[string]bool{}, map[string]int{}
	got := newLog()
	s := e.consume(t, b, topic, func(_ context.Context, d *bus.Delivery) error {
		key := bus.Key(d.Message)
		mu.Lock()
		defer mu.Unlock()
		if running[key] {
			return bus.Stop(fmt.Errorf("two messages of %s at once", key))
		}
		if n := number(d) / keys; n != next[key] {
			return bus.Stop(fmt.Errorf("%s: message %d came when %d was next", key, n, next[key]))
		}
		running[key] = true
		mu.Unlock()
		fails := number(d)%7 == 3 && d.Attempt < 3
		mu.Lock()
		running[key] = false
		if fails {
			return errPlease
		}
		next[key]++
		got.add(d)
		return nil
	}, bus.OrderByKey(), bus.Window(32))
	e.publishing(t, b, topic, numbered(0, keys*each, func(n int) string { return fmt.Sprint("key-", n%keys) })...)
	finished := make(chan struct{})
	go func() {
		defer close(finished)
		select {
		case <-s.Done():
		case <-t.Context().Done():
		}
	}()
	got.until(t, e, "all messages in the order of their keys", func(es []entry) bool {
		select {
		case <-finished:
			require.NoError(t, s.Err())
		default:
		}
		return len(es) == keys*each
	})
	e.close(t, s)
	require.NoError(t, s.Err())
	require.Len(t, got.snapshot(), keys*each)
}

func nackHoldsKey(t *testing.T, e *env) {
	b := e.bus(t)
	topic := e.topic(t, b, 1)
	heal := make(chan struct{})
	poisoned, healthy := newLog(), newLog()
	e.consume(t, b, topic, func(_ context.Context, d *bus.Delivery) error {
		if bus.Key(d.Message) != "poisoned" {
			healthy.add(d)
			return nil
		}
		poisoned.add(d)
		select {
		case <-heal:
			return nil
		default:
			return errPlease
		}
	}, bus.OrderByKey(), bus.Window(16))
	e.publishing(t, b, topic, numbered(0, 100, func(n int) string {
		if n%25 == 0 {
			return "poisoned"
		}
		return fmt.Sprint("key-", n%5)
	})...)
	healthy.distinct(t, e, 96)
	poisoned.count(t, e, 3)
	for _, x := range poisoned.snapshot() {
		require.Zero(t, x.number, "what follows it under its key waits")
	}
	close(heal)
	var order []int
	for _, x := range poisoned.distinct(t, e, 4) {
		if len(order) == 0 || order[len(order)-1] != x.number {
			order = append(order, x.number)
		}
	}
	require.Equal(t, []int{0, 25, 50, 75}, order)
}
