package transporttest

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/trunkline/trunkline/bus"
)

var closeScenarios = []scenario{
	{name: "CloseWaitsForTheHandler", run: closeWaits},
	{name: "CloseIsBounded", needs: needs{needFreePublish}, run: closeBounded},
	{name: "HandlersPublishWhileTheBusDrains", run: publishWhileDraining},
	{name: "CloseWithAnUnreadChannel", needs: needs{needFreePublish}, run: closeUnread},
	{name: "CloseWhileWaitingForAnAck", needs: needs{needFreePublish}, run: closeUnacked},
	{name: "EndOfContextStopsAtOnce", needs: needs{needFreePublish}, run: contextStops},
	{name: "CloseEndsPublishersThatWait", needs: needs{needFreePublish}, run: closeWaitingPublishers},
	{name: "OneSubscriptionClosesAlone", run: closeAlone},
}

func closeWaits(t *testing.T, e *env) {
	b := e.bus(t)
	topic := e.topic(t, b, 1)
	begun, release := make(chan struct{}, 1), make(chan struct{})
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
	e.awaits(t, begun, "the handler begins")
	closed := make(chan error, 1)
	go func() {
		ctx, cancel := e.patience(t)
		defer cancel()
		err := s.Shutdown(ctx)
		if !ended.Load() {
			panic("Close returned while a handler ran")
		}
		closed <- err
	}()
	select {
	case <-s.Done():
		require.Fail(t, "the subscription ended while a handler ran")
	default:
	}
	close(release)
	select {
	case err := <-closed:
		require.NoError(t, err)
	case <-time.After(e.h.Patience):
		require.Fail(t, "Close did not return")
	}
	require.Nil(t, ctxErr.Load(), "a drain leaves the handler its context")
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
	e.awaits(t, begun, "the handler begins")
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	requireCode(t, bus.CodeDeadlineExceeded, s.Shutdown(ctx), "a drain that a handler holds up")
	e.awaits(t, s.Done(), "the handler's context ends")
	require.NoError(t, b.Close())
}

func publishWhileDraining(t *testing.T, e *env) {
	b := e.bus(t)
	topic, other := e.topic(t, b, 1), e.topic(t, b, 1)
	watcher := e.bus(t)
	seen := newLog()
	e.consume(t, watcher, other, seen.handler)
	begun, release := make(chan struct{}, 1), make(chan struct{})
	published := make(chan error, 1)
	e.consume(t, b, topic, func(_ context.Context, d *bus.Delivery) error {
		begun <- struct{}{}
		<-release
		published <- b.Publish(other, d.Message())
		return nil
	})
	e.publishing(t, b, topic, numbered(7, 1, nil)...)
	e.awaits(t, begun, "the handler begins")
	closed := make(chan error, 1)
	go func() { closed <- b.Close() }()
	close(release)
	require.NoError(t, <-published)
	require.NoError(t, <-closed)
	require.Equal(t, 7, seen.count(t, e, 1)[0].number)
}

func closeUnread(t *testing.T, e *env) {
	b := e.bus(t)
	topic := e.topic(t, b, 1)
	ready := newLog()
	e.consume(t, b, topic, ready.handler)
	channel, err := b.Subscribe(context.WithoutCancel(t.Context()), topic)
	require.NoError(t, err)
	e.publish(t, b, topic, numbered(0, 10, nil)...)
	ready.distinct(t, e, 10)
	require.NoError(t, b.Close())
	for range channel { // nobody read it; it must be closed
	}
}

func closeUnacked(t *testing.T, e *env) {
	b, watch := e.watchedBus(t)
	topic := e.topic(t, b, 1)
	channel, err := b.Subscribe(context.WithoutCancel(t.Context()), topic)
	require.NoError(t, err)
	e.awaits(t, watch, "the subscription is assigned")
	e.publish(t, b, topic, numbered(0, 2, nil)...)
	m := e.receive(t, channel)
	short, stop := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer stop()
	requireCode(t, bus.CodeDeadlineExceeded, b.Shutdown(short), "an unacknowledged message has the time that Close has")
	e.awaits(t, m.Context().Done(), "the context of the message ends")
	closed := make(chan struct{})
	go func() {
		defer close(closed)
		for range channel {
		}
	}()
	e.awaits(t, closed, "the channel is closed")
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
	e.awaits(t, begun, "the handler begins")
	cancel(errPlease)
	e.awaits(t, s.Done(), "the subscription ends")
	require.ErrorIs(t, s.Err(), errPlease)
}

func closeAlone(t *testing.T, e *env) {
	b := e.bus(t)
	topic := e.topic(t, b, 1)
	one, two := newLog(), newLog()
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

// closeWaitingPublishers has publishers wait, where publishing is bounded, for a
// subscriber that belongs to another bus.
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
	e.awaits(t, begun, "the handler begins")
	require.NoError(t, publisher.Close())
	if err := <-published; err != nil {
		failed, ok := errors.AsType[*bus.PublishError](err)
		require.True(t, ok, "%v", err)
		for _, r := range failed.Outcomes {
			if r.Err != nil {
				requireCode(t, bus.CodeClosed, r.Err, "publishing that Close ended")
			}
		}
	}
	cancel()
	e.awaits(t, s.Done(), "the stalled subscription ends")
}
