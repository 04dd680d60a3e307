package transporttest

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/trunkline/trunkline/bus"
)

var closeScenarios = []scenario{
	{name: "CloseWaitsForRunningHandler", run: closeWaits},
	{name: "CloseReturnsWhenItsContextEnds", needs: requirements{needPublishWithoutAck}, run: closeBounded},
	{name: "HandlerCanPublishWhileBusCloses", run: publishWhileDraining},
	{name: "CloseWithUnreadChannelReturns", needs: requirements{needPublishWithoutAck}, run: closeUnread},
	{name: "ShutdownWithUnacknowledgedMessageIsBounded", needs: requirements{needPublishWithoutAck}, run: closeUnacked},
	{name: "CloseRedeliversUnacknowledgedMessages", needs: requirements{needGroups, needReplay, needRedelivery, needPublishWithoutAck}, run: closeRedelivers},
	{name: "ContextEndStopsSubscriptionWithoutDrain", needs: requirements{needPublishWithoutAck}, run: contextStops},
	{name: "CloseEndsWaitingPublish", needs: requirements{needPublishWithoutAck}, run: closeWaitingPublishers},
	{name: "ClosingSubscriptionLeavesOthersRunning", run: closeAlone},
}

func closeWaits(t *testing.T, e *env) {
	b := e.bus(t)
	topic := e.topic(t, b, 1)
	begun, release := make(chan struct{}, 1), make(chan struct{})
	var once sync.Once
	finish := func() { once.Do(func() { close(release) }) }
	t.Cleanup(finish) // also if the scenario fails before it calls finish
	var ended atomic.Bool
	var ctxErr atomic.Value
	s := e.consume(t, b, topic, func(ctx context.Context, _ *bus.Delivery) error {
		begun <- struct{}{}
		<-release
		if err := ctx.Err(); err != nil {
			ctxErr.Store(err)
		}
		ended.Store(true)
		return nil
	})
	e.publishing(t, b, topic, numbered(0, 1, nil)...)
	await(t, e, begun, "the handler begins")
	closed := make(chan error, 1)
	var early atomic.Bool
	go func() {
		ctx, cancel := e.context(t)
		defer cancel()
		err := s.Shutdown(ctx)
		early.Store(!ended.Load())
		closed <- err
	}()
	select {
	case <-s.Done():
		require.Fail(t, "the subscription ended while a handler ran")
	default:
	}
	finish()
	require.NoError(t, await(t, e, closed, "Close returns"))
	require.False(t, early.Load(), "Close returned while a handler ran")
	require.Nil(t, ctxErr.Load(), "a drain does not end the context of the handler")
	require.NoError(t, s.Err())
}

func closeBounded(t *testing.T, e *env) {
	b := e.bus(t)
	topic := e.topic(t, b, 1)
	begun := make(chan struct{}, 1)
	s := e.consume(t, b, topic, func(ctx context.Context, _ *bus.Delivery) error {
		begun <- struct{}{}
		<-ctx.Done()
		return context.Cause(ctx)
	})
	e.publish(t, b, topic, numbered(0, 1, nil)...)
	await(t, e, begun, "the handler begins")
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	requireCode(t, bus.CodeDeadlineExceeded, s.Shutdown(ctx), "a drain that a handler blocks")
	await(t, e, s.Done(), "the subscription ends")
	e.closeBus(t, b)
}

func publishWhileDraining(t *testing.T, e *env) {
	b := e.bus(t)
	topic, other := e.topic(t, b, 1), e.topic(t, b, 1)
	watcher := e.bus(t)
	seen := newRecorder()
	e.consume(t, watcher, other, seen.handler)
	begun, release := make(chan struct{}, 1), make(chan struct{})
	var once sync.Once
	finish := func() { once.Do(func() { close(release) }) }
	t.Cleanup(finish) // also if the scenario fails before it calls finish
	published := make(chan error, 1)
	e.consume(t, b, topic, func(_ context.Context, d *bus.Delivery) error {
		begun <- struct{}{}
		<-release
		published <- b.Publish(other, d.Message())
		return nil
	})
	e.publishing(t, b, topic, numbered(7, 1, nil)...)
	await(t, e, begun, "the handler begins")
	closed := make(chan error, 1)
	go func() { closed <- b.Close() }()
	finish()
	require.NoError(t, await(t, e, published, "the handler has published"))
	require.NoError(t, await(t, e, closed, "Close returns"))
	require.Equal(t, 7, seen.count(t, e, 1)[0].number)
}

func closeUnread(t *testing.T, e *env) {
	b := e.bus(t)
	topic := e.topic(t, b, 1)
	ready := newRecorder()
	e.consume(t, b, topic, ready.handler)
	channel, err := b.Subscribe(context.WithoutCancel(t.Context()), topic)
	require.NoError(t, err)
	e.publish(t, b, topic, numbered(0, 10, nil)...)
	ready.distinct(t, e, 10)
	e.closeBus(t, b)
	awaitClosed(t, e, channel, "the channel is closed")
}

func closeUnacked(t *testing.T, e *env) {
	b := e.bus(t)
	topic := e.topic(t, b, 1)
	channel, err := b.Subscribe(context.WithoutCancel(t.Context()), topic)
	require.NoError(t, err)
	e.publish(t, b, topic, numbered(0, 2, nil)...)
	m := e.receive(t, channel)
	short, stop := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer stop()
	requireCode(t, bus.CodeDeadlineExceeded, b.Shutdown(short), "Shutdown waits for the acknowledgement until its context ends")
	await(t, e, m.Context().Done(), "the context of the message ends")
	awaitClosed(t, e, channel, "the channel is closed")
}

// closeRedelivers closes a bus after some of its messages have been acknowledged. The next member of
// the group must receive exactly the others.
func closeRedelivers(t *testing.T, e *env) {
	b := e.bus(t, bus.WithSubscribeDefaults(bus.Group(e.name("group"))))
	topic := e.topic(t, b, 1)
	channel, err := b.Subscribe(context.WithoutCancel(t.Context()), topic)
	require.NoError(t, err)
	e.publish(t, b, topic, numbered(0, 5, nil)...)
	for range 2 {
		require.True(t, e.receive(t, channel).Ack())
	}
	third := e.receive(t, channel)
	require.Equal(t, "2", string(third.Payload))
	short, stop := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer stop()
	requireCode(t, bus.CodeDeadlineExceeded, b.Shutdown(short), "a shutdown with an unacknowledged message")
	awaitClosed(t, e, channel, "the channel is closed")

	successor := e.bus(t)
	again := newRecorder()
	e.consume(t, successor, topic, again.handler, bus.Group(e.name("group")))
	e.publish(t, successor, topic, numbered(5, 1, nil)...)
	again.last(t, e, 5)
	require.Equal(t, sequence(2, 4), again.numbers(), "the acknowledged messages are not redelivered, the others are")
}

func contextStops(t *testing.T, e *env) {
	b := e.bus(t)
	topic := e.topic(t, b, 1)
	begun := make(chan struct{}, 1)
	ctx, cancel := context.WithCancelCause(t.Context())
	s, err := b.Consume(ctx, topic, func(ctx context.Context, _ *bus.Delivery) error {
		begun <- struct{}{}
		<-ctx.Done()
		return ctx.Err()
	})
	require.NoError(t, err)
	e.ready(t, s)
	e.publish(t, b, topic, numbered(0, 1, nil)...)
	await(t, e, begun, "the handler begins")
	cancel(errNack)
	await(t, e, s.Done(), "the subscription ends")
	require.ErrorIs(t, s.Err(), errNack)
}

func closeAlone(t *testing.T, e *env) {
	b := e.bus(t)
	topic := e.topic(t, b, 1)
	one, two := newRecorder(), newRecorder()
	s := e.consume(t, b, topic, one.handler)
	e.consume(t, b, topic, two.handler)
	e.publish(t, b, topic, numbered(0, 1, nil)...)
	one.count(t, e, 1)
	e.close(t, s)
	e.close(t, s)
	e.publish(t, b, topic, numbered(1, 20, nil)...)
	two.distinct(t, e, 21)
	require.Len(t, one.snapshot(), 1)
}

// closeWaitingPublishers publishes more than the transport buffers, if it has a bound, to a
// subscriber of another bus that handles nothing. The publisher waits until its bus is closed.
func closeWaitingPublishers(t *testing.T, e *env) {
	publisher, stalled := e.bus(t), e.bus(t)
	topic := e.topic(t, publisher, 1)
	begun := make(chan struct{}, 1)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	s, err := stalled.Consume(ctx, topic, func(ctx context.Context, _ *bus.Delivery) error {
		select {
		case begun <- struct{}{}:
		default:
		}
		<-ctx.Done()
		return ctx.Err()
	}, bus.Concurrency(1))
	require.NoError(t, err)
	e.ready(t, s)
	published := make(chan error, 1)
	go func() { published <- publisher.Publish(topic, numbered(0, 5000, nil)...) }()
	await(t, e, begun, "the handler begins")
	e.closeBus(t, publisher)
	if err := await(t, e, published, "Publish returns"); err != nil {
		failed, ok := errors.AsType[*bus.PublishError](err)
		require.True(t, ok, "%v", err)
		for _, r := range failed.Outcomes {
			if r.Err != nil {
				requireCode(t, bus.CodeClosed, r.Err, "a publish that Close ended")
			}
		}
	}
	cancel()
	await(t, e, s.Done(), "the blocked subscription ends")
}
