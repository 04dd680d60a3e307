package main

import (
	"context"
	"errors"
	"sync/atomic"

	"github.com/ThreeDotsLabs/watermill"
	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/ThreeDotsLabs/watermill/pubsub/gochannel"

	"github.com/trunkline/trunkline/bus"
	"github.com/trunkline/trunkline/bus/driver"
	ourchannel "github.com/trunkline/trunkline/transport/gochannel"
	"github.com/trunkline/trunkline/transport/memory"
)

// pipe opens a publisher and a subscriber. It calls acked for each message that the subscriber acknowledges.
type pipe func(ctx context.Context, acked func()) (publish func(*message.Message) error, close func() error, err error)

func memoryScenarios() []scenario {
	return []scenario{{group: "memory", name: "publish, deliver, acknowledge", unit: "messages/s", peers: []peer{
		{name: "a Go channel of messages (the floor)", base: true, run: measurePipe(channelPipe)},
		{name: "watermill gochannel", run: measurePipe(watermillPipe(gochannel.Config{OutputChannelBuffer: 1024}))},
		{name: "watermill gochannel, in order (Block)", run: measurePipe(watermillPipe(gochannel.Config{OutputChannelBuffer: 1024, BlockPublishUntilSubscriberAck: true}))},
		{name: "Trunkline on memory, no group", ours: true, run: measurePipe(ourPipe(newMemory))},
		{name: "Trunkline on memory, a group", ours: true, run: measurePipe(ourPipe(newMemory, bus.Group("g")))},
		{name: "Trunkline on memory, by key", ours: true, run: measurePipe(ourPipe(newMemory, bus.Group("g"), bus.OrderByKey()))},
		{name: "Trunkline on gochannel", ours: true, run: measurePipe(ourPipe(newChannel))},
	}}}
}

// measurePipe measures one publisher and one subscriber, from the creation of a message to its
// acknowledgement.
func measurePipe(open pipe) func(context.Context, *env) (sample, error) {
	return func(ctx context.Context, e *env) (sample, error) {
		n := int64(e.records / 2)
		var acked, target atomic.Int64
		reached := make(chan struct{}, 1)
		publish, closePipe, err := open(ctx, func() {
			if acked.Add(1) == target.Load() {
				reached <- struct{}{}
			}
		})
		if err != nil {
			return sample{}, err
		}
		body := payload()
		send := func(n int64) error {
			target.Add(n)
			for range n {
				if err := publish(message.NewMessage(uuid, body)); err != nil {
					return err
				}
			}
			select {
			case <-reached:
				return nil
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		err = send(n / 10)
		c := startMeter()
		if err == nil {
			err = send(n)
		}
		s := c.end(int(n))
		return s, errors.Join(err, closePipe())
	}
}

func channelPipe(_ context.Context, acked func()) (func(*message.Message) error, func() error, error) {
	messages := make(chan *message.Message, 1024)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for m := range messages {
			m.Ack()
			acked()
		}
	}()
	return func(m *message.Message) error { messages <- m; return nil },
		func() error { close(messages); <-done; return nil }, nil
}

func watermillPipe(c gochannel.Config) pipe {
	return func(ctx context.Context, acked func()) (func(*message.Message) error, func() error, error) {
		g := gochannel.NewGoChannel(c, watermill.NopLogger{})
		messages, err := g.Subscribe(ctx, "t")
		if err != nil {
			return nil, nil, err
		}
		go func() {
			for m := range messages {
				m.Ack()
				acked()
			}
		}()
		return func(m *message.Message) error { return g.Publish("t", m) }, g.Close, nil
	}
}

func newMemory() (driver.Transport, error)  { return memory.New() }
func newChannel() (driver.Transport, error) { return ourchannel.New() }

func ourPipe(transport func() (driver.Transport, error), opts ...bus.SubscribeOption) pipe {
	return func(ctx context.Context, acked func()) (func(*message.Message) error, func() error, error) {
		b, err := newBus(transport)
		if err != nil {
			return nil, nil, err
		}
		if err := b.EnsureTopic(ctx, bus.TopicSpec{Name: "t", Partitions: 1}); err != nil {
			return nil, nil, errors.Join(err, b.Close())
		}
		sub, err := b.Consume(ctx, "t", func(context.Context, *bus.Delivery) error { acked(); return nil }, opts...)
		if err == nil {
			err = sub.Ready(ctx)
		}
		if err != nil {
			return nil, nil, errors.Join(err, b.Close())
		}
		return func(m *message.Message) error { return b.Publish("t", m) }, b.Close, nil
	}
}

func newBus(transport func() (driver.Transport, error)) (*bus.Bus, error) {
	t, err := transport()
	if err != nil {
		return nil, err
	}
	return bus.New(t)
}
