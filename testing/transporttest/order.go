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
	{name: "OrderByPartition", needs: needs{needOrder}, run: orderByPartition},
	{name: "OrderByKeyUnderRedelivery", needs: needs{needOrder, needKeys, needWindow}, run: orderByKey},
	{name: "NackedMessageHoldsItsKeyOnly", needs: needs{needOrder, needKeys, needWindow}, run: nackHoldsKey},
}

// errPlease is what handlers nack with.
var errPlease = errors.New("again, please")

func orderByPartition(t *testing.T, e *env) {
	b := e.bus(t)
	topic := e.topic(t, b, partitions)
	const publishers, each = 4, 100
	var mu sync.Mutex
	running, most := map[int32]int{}, 0
	got := newLog()
	e.consume(t, b, topic, func(_ context.Context, d *bus.Delivery) error {
		mu.Lock()
		running[d.Record.Partition]++
		most = max(most, running[d.Record.Partition])
		mu.Unlock()
		defer func() {
			mu.Lock()
			defer mu.Unlock()
			running[d.Record.Partition]--
		}()
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
	mu.Lock()
	require.Equal(t, 1, most, "messages of a partition that were handled at once")
	mu.Unlock()
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
	running, overlaps := map[string]bool{}, 0
	deliveries, acknowledged := newLog(), newLog()
	e.consume(t, b, topic, func(_ context.Context, d *bus.Delivery) error {
		key := string(d.Key)
		mu.Lock()
		if running[key] {
			overlaps++
		}
		running[key] = true
		mu.Unlock()
		deliveries.add(d)
		mu.Lock()
		running[key] = false
		mu.Unlock()
		if number(d)%7 == 3 && d.Attempt < 3 {
			return errPlease
		}
		acknowledged.add(d)
		return nil
	}, bus.OrderByKey(), bus.Window(32))
	e.publishing(t, b, topic, numbered(0, keys*each, func(n int) string { return fmt.Sprint("key-", n%keys) })...)
	acknowledged.count(t, e, keys*each)
	require.Zero(t, overlaps, "messages of a key that were handled at once")
	for name, l := range map[string]*log{"deliveries": deliveries, "acknowledgements": acknowledged} {
		last := map[int]int{}
		for _, x := range l.snapshot() {
			key := x.number % keys
			if x.attempt == 1 {
				want := key
				if previous, ok := last[key]; ok {
					want = previous + keys
				}
				require.Equal(t, want, x.number, "%s of key-%d", name, key)
			} else if previous, ok := last[key]; ok && l == deliveries {
				require.Equal(t, previous, x.number, "%s of key-%d: a nacked message comes next", name, key)
			}
			last[key] = x.number
		}
	}
}

func nackHoldsKey(t *testing.T, e *env) {
	b := e.bus(t)
	topic := e.topic(t, b, 1)
	heal := make(chan struct{})
	poisoned, healthy := newLog(), newLog()
	e.consume(t, b, topic, func(_ context.Context, d *bus.Delivery) error {
		if string(d.Key) != "poisoned" {
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
