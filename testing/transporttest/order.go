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
	{name: "OrderByPartitionDeliversOneMessageAtATime", needs: requirements{needOrder}, run: orderByPartition},
	{name: "OrderByKeyHoldsUnderRedelivery", needs: requirements{needOrder, needKeys, needWindow}, run: orderByKey},
	{name: "NackedMessageBlocksOnlyItsKey", needs: requirements{needOrder, needKeys, needWindow}, run: nackHoldsKey},
}

func orderByPartition(t *testing.T, e *env) {
	b := e.bus(t)
	topic := e.topic(t, b, partitions)
	const publishers, each = 4, 100
	var mu sync.Mutex
	running := map[int32]bool{}
	got := newRecorder()
	e.consume(t, b, topic, func(_ context.Context, d *bus.Delivery) error {
		mu.Lock()
		if running[d.Record.Partition] {
			got.fault("two messages of partition %d are handled concurrently", d.Record.Partition)
		}
		running[d.Record.Partition] = true
		mu.Unlock()
		defer func() {
			mu.Lock()
			defer mu.Unlock()
			running[d.Record.Partition] = false
		}()
		if number(d)%17 == 0 && d.Attempt == 1 {
			return errNack
		}
		got.add(d)
		return nil
	}, bus.OrderByPartition())
	ctx, cancel := e.context(t)
	defer cancel()
	var wg sync.WaitGroup
	errs := make([]error, publishers)
	for p := range publishers {
		wg.Go(func() {
			for _, m := range numbered(p*each, each, func(n int) string { return fmt.Sprint("key-", n%8) }) {
				m.SetContext(ctx)
				if errs[p] = b.Publish(topic, m); errs[p] != nil {
					return
				}
			}
		})
	}
	wg.Wait()
	require.NoError(t, errors.Join(errs...))
	deliveries := got.count(t, e, publishers*each)
	require.Len(t, deliveries, publishers*each, "each message is acknowledged once")
	type origin struct {
		partition int32
		publisher int
	}
	offsets, last := map[int32]int64{}, map[origin]int{}
	for _, x := range deliveries {
		p := x.record.Partition
		if previous, ok := offsets[p]; ok {
			require.Greater(t, x.record.Offset, previous)
		}
		offsets[p] = x.record.Offset
		o := origin{p, x.number / each}
		if previous, ok := last[o]; ok {
			require.Greater(t, x.number, previous, "the order of publisher %d on partition %d", o.publisher, p)
		}
		last[o] = x.number
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
	running := map[string]bool{}
	deliveries, acknowledged := newRecorder(), newRecorder()
	e.consume(t, b, topic, func(_ context.Context, d *bus.Delivery) error {
		key := string(d.Record.Key)
		mu.Lock()
		if running[key] {
			acknowledged.fault("two messages of %s are handled concurrently", key)
		}
		running[key] = true
		mu.Unlock()
		deliveries.add(d)
		mu.Lock()
		running[key] = false
		mu.Unlock()
		if number(d)%7 == 3 && d.Attempt < 3 {
			return errNack
		}
		acknowledged.add(d)
		return nil
	}, bus.OrderByKey(), bus.Window(32))
	e.publishing(t, b, topic, numbered(0, keys*each, func(n int) string { return fmt.Sprint("key-", n%keys) })...)
	acknowledged.count(t, e, keys*each)
	for name, l := range map[string]*recorder{"deliveries": deliveries, "acknowledgements": acknowledged} {
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
				require.Equal(t, previous, x.number, "%s of key-%d: the nacked message is the next one", name, key)
			}
			last[key] = x.number
		}
	}
}

func nackHoldsKey(t *testing.T, e *env) {
	b := e.bus(t)
	topic := e.topic(t, b, 1)
	recovered := make(chan struct{})
	failing, healthy := newRecorder(), newRecorder()
	e.consume(t, b, topic, func(_ context.Context, d *bus.Delivery) error {
		if string(d.Record.Key) != "failing" {
			healthy.add(d)
			return nil
		}
		failing.add(d)
		select {
		case <-recovered:
			return nil
		default:
			return errNack
		}
	}, bus.OrderByKey(), bus.Window(16))
	e.publishing(t, b, topic, numbered(0, 100, func(n int) string {
		if n%25 == 0 {
			return "failing"
		}
		return fmt.Sprint("key-", n%5)
	})...)
	healthy.distinct(t, e, 96)
	failing.count(t, e, 3)
	for _, x := range failing.snapshot() {
		require.Zero(t, x.number, "later messages of the key wait")
	}
	close(recovered)
	var order []int
	for _, x := range failing.distinct(t, e, 4) {
		if len(order) == 0 || order[len(order)-1] != x.number {
			order = append(order, x.number)
		}
	}
	require.Equal(t, []int{0, 25, 50, 75}, order)
}
