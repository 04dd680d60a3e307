package main

import (
	"context"
	"errors"
	"time"

	"github.com/trunkline/trunkline/bus"
	managed "github.com/trunkline/trunkline/bus/consumer"
)

const (
	workers     = 256
	managedKeys = 10_000
)

// managedScenarios compare the managed consumer with the upper limit of its workers.
func managedScenarios() []scenario {
	byKey := func(c consumer) func(context.Context, *env) (sample, error) {
		return func(ctx context.Context, e *env) (sample, error) {
			return e.consume(ctx, c, managedKeys, e.records, time.Millisecond)
		}
	}
	return []scenario{
		{group: "consumer", name: "a handler of 1 ms, 256 workers by key, 10,000 keys", unit: "messages/s", kafka: true, peers: []peer{
			{name: "time.Sleep in 256 goroutines", base: true, run: sleepers},
			{name: "Trunkline, managed consumer", ours: true, run: byKey(consumeManaged())},
			{name: "Trunkline, managed consumer, with retries, time-out and dead letters", ours: true,
				run: byKey(consumeManaged(managed.WithAttempts(3), bus.Backoff(10*time.Millisecond, time.Second), managed.WithHandlerTimeout(10*time.Second), bus.DeadLetterTopic("bench-dead")))},
			{name: "Trunkline, bus alone", ours: true, run: byKey(consumeOurs(bus.OrderByKey(), bus.Window(workers), bus.Concurrency(workers)))},
		}},
	}
}

func consumeManaged(opts ...managed.Option) consumer {
	return func(ctx context.Context, e *env, group string, h handler) (func() error, error) {
		b, err := ourKafka(e, &dialer{})
		if err != nil {
			return nil, err
		}
		c, err := managed.New(b, e.loaded, func(_ context.Context, d *bus.Delivery) error {
			h(d.Record.Partition, d.Record.Offset)
			return nil
		}, append([]managed.Option{bus.Group(group), bus.OrderByKey(), bus.Concurrency(workers)}, opts...)...)
		if err == nil {
			err = c.Start()
		}
		if err != nil {
			return nil, errors.Join(err, b.Close())
		}
		return func() error {
			closing, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
			defer cancel()
			return errors.Join(c.Shutdown(closing), b.Close())
		}, nil
	}
}
