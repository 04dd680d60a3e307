package transporttest

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/trunkline/trunkline/bus"
	"github.com/trunkline/trunkline/testing/bustest"
)

var batchScenarios = []scenario{
	{name: "BatchesOfPartitionAreOrderedAndSequential", needs: requirements{needOrder, needWindow, needPublishWithoutAck}, run: batchOrder},
	{name: "PartialBatchIsDeliveredAfterBatchAge", run: batchAge},
	{name: "BatchErrorRedeliversOnlyNamedMessages", needs: requirements{needWindow, needPublishWithoutAck}, without: batchesOfOne, run: batchError},
	{name: "CloseLosesNoMessageOfBatch", needs: requirements{needGroups, needReplay, needWindow, needRedelivery}, run: batchClose},
	{name: "RebalanceLosesNoMessageOfBatch", needs: append(requirements{needOrder, needWindow, needRedelivery}, needPartitionMoves...), run: batchRebalance},
}

func (e *env) consumeBatches(t *testing.T, b *bus.Bus, topic string, h bus.BatchHandler, opts ...bus.SubscribeOption) *bus.Subscription {
	t.Helper()
	s, err := b.ConsumeBatches(context.WithoutCancel(t.Context()), topic, h, opts...)
	require.NoError(t, err)
	e.ready(t, s)
	return s
}

func batchOrder(t *testing.T, e *env) {
	b := e.bus(t)
	topic := e.topic(t, b, partitions)
	const n, size, keys = 400, 16, 8
	var mu sync.Mutex
	running := map[int32]bool{}
	got := newRecorder()
	e.consumeBatches(t, b, topic, func(ctx context.Context, ds []*bus.Delivery) error {
		p := ds[0].Record.Partition
		mu.Lock()
		if running[p] {
			got.fault("two batches of partition %d run concurrently", p)
		}
		running[p] = true
		mu.Unlock()
		if len(ds) > size {
			got.fault("a batch has %d messages, more than %d", len(ds), size)
		}
		for _, d := range ds {
			if d.Record.Partition != p {
				got.fault("a batch has messages of the partitions %d and %d", p, d.Record.Partition)
			}
		}
		defer func() {
			mu.Lock()
			defer mu.Unlock()
			running[p] = false
		}()
		if number(ds[0])%5 == 0 && ds[0].Attempt == 1 {
			return errNack
		}
		return got.batchHandler(ctx, ds)
	}, bus.BatchSize(size), bus.BatchAge(5*time.Millisecond))
	e.publishing(t, b, topic, numbered(0, n, func(i int) string { return fmt.Sprint("key-", i%keys) })...)
	deliveries := got.count(t, e, n)
	require.Len(t, deliveries, n, "each message is acknowledged once")
	offsets, last := map[int32]int64{}, map[int]int{}
	for _, x := range deliveries {
		if previous, ok := offsets[x.record.Partition]; ok {
			require.Greater(t, x.record.Offset, previous)
		}
		offsets[x.record.Partition] = x.record.Offset
		if previous, ok := last[x.number%keys]; ok {
			require.Equal(t, previous+keys, x.number)
		}
		last[x.number%keys] = x.number
	}
}

func batchAge(t *testing.T, e *env) {
	b := e.bus(t)
	topic := e.topic(t, b, 1)
	got := newRecorder()
	e.consumeBatches(t, b, topic, got.batchHandler, bus.BatchAge(10*time.Millisecond))
	e.publishing(t, b, topic, numbered(0, 3, nil)...)
	got.distinct(t, e, 3)
}

// batchesOfOne checks a transport that delivers one message at a time.
func batchesOfOne(t *testing.T, e *env) {
	b := e.bus(t)
	topic := e.topic(t, b, 1)
	if !e.caps.DirectAck {
		return
	}
	got := newRecorder()
	_, err := b.ConsumeBatches(t.Context(), topic, got.batchHandler, bus.BatchSize(2))
	requireCode(t, bus.CodeUnsupported, err, "a batch of two")
	e.consumeBatches(t, b, topic, func(ctx context.Context, ds []*bus.Delivery) error {
		if len(ds) != 1 {
			got.fault("a batch has %d messages, want 1", len(ds))
		}
		return got.batchHandler(ctx, ds)
	}, bus.BatchAge(time.Hour))
	e.publishing(t, b, topic, numbered(0, 3, nil)...)
	got.distinct(t, e, 3)
}

func batchError(t *testing.T, e *env) {
	b := e.bus(t)
	topic := e.topic(t, b, 1)
	const n = 60
	got, failed := newRecorder(), newRecorder()
	e.consumeBatches(t, b, topic, func(_ context.Context, ds []*bus.Delivery) error {
		var some bus.BatchError
		for i, d := range ds {
			if number(d)%7 == 3 && d.Attempt < 3 {
				failed.add(d)
				some.Add(i, errNack)
				continue
			}
			got.add(d)
		}
		return some.Err()
	}, bus.BatchSize(10), bus.BatchAge(5*time.Millisecond))
	e.publishing(t, b, topic, numbered(0, n, nil)...)
	deliveries := got.count(t, e, n)
	require.ElementsMatch(t, sequence(0, n), got.numbers(), "each message is acknowledged once")
	for _, x := range deliveries {
		want := 1
		if x.number%7 == 3 {
			want = 3
		}
		require.Equal(t, want, x.attempt, "message %d", x.number)
	}
}

func batchClose(t *testing.T, e *env) {
	b := e.bus(t)
	topic := e.topic(t, b, 1)
	group := bus.Group(e.name("group"))
	const n = 25
	e.publish(t, b, topic, numbered(0, n, nil)...)
	first, second := newRecorder(), newRecorder()
	s := e.consumeBatches(t, b, topic, first.batchHandler, group, bus.BatchSize(10), bus.BatchAge(time.Hour))
	first.count(t, e, 20) // the rest waits for a full batch
	e.close(t, s)
	e.publish(t, b, topic, numbered(n, 1, nil)...)
	e.consumeBatches(t, b, topic, second.batchHandler, group, bus.BatchSize(10), bus.BatchAge(time.Millisecond))
	second.last(t, e, n)
	require.Equal(t, sequence(0, n+1), append(first.numbers(), second.numbers()...), "each message is handled once, in order")
}

func batchRebalance(t *testing.T, e *env) {
	faults, err := bustest.NewFaults(e.transport(t), 1)
	require.NoError(t, err)
	b := e.busOver(t, faults)
	topic := e.topic(t, b, partitions)
	const rounds, each = 5, 40
	got := newRecorder()
	e.consumeBatches(t, b, topic, got.batchHandler, bus.Group(e.name("group")), bus.BatchSize(7), bus.BatchAge(20*time.Millisecond))
	for round := range rounds {
		e.publish(t, b, topic, numbered(round*each, each, func(i int) string { return fmt.Sprint("key-", i%8) })...)
		require.NoError(t, faults.Rebalance(e.name("group"), topic))
	}
	deliveries := got.distinct(t, e, rounds*each)
	// Among the first deliveries of the messages, no key has a gap.
	seen, last := map[int]bool{}, map[int]int{}
	for _, x := range deliveries {
		if seen[x.number] {
			continue
		}
		seen[x.number] = true
		if previous, ok := last[x.number%8]; ok {
			require.Equal(t, previous+8, x.number)
		}
		last[x.number%8] = x.number
	}
}
