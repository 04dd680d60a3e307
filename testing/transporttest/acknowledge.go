package transporttest

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/trunkline/trunkline/bus"
)

var acknowledgeScenarios = []scenario{
	{name: "NackedMessageIsRedeliveredAfterBackoff", run: nackBackoff},
	{name: "HandlerPanicIsTreatedAsNack", run: panicIsNack},
	{name: "DropRetryAfterAndStopAreObeyed", run: control},
	{name: "OnlyAcknowledgedPrefixIsCommitted", needs: requirements{needGroups, needReplay, needRedelivery, needWindow}, run: prefix},
	{name: "AcknowledgedMessageIsNotRedeliveredAfterClose", needs: requirements{needGroups, needReplay, needRedelivery}, run: ackThenClose},
	{name: "CrashRedeliversExactlyWhatWasNotCommitted", needs: requirements{needGroups, needReplay, needRedelivery, needCrash}, run: crash},
}

// errNack is the error with which handlers nack.
var errNack = errors.New("nacked by the suite")

func nackBackoff(t *testing.T, e *env) {
	b := e.bus(t)
	topic := e.topic(t, b, 1)
	const lowest = 20 * time.Millisecond
	got := newRecorder()
	e.consume(t, b, topic, func(_ context.Context, d *bus.Delivery) error {
		got.add(d)
		if number(d) == 0 && d.Attempt < 4 {
			return errNack
		}
		return nil
	}, bus.Backoff(lowest, 4*lowest))
	e.publish(t, b, topic, numbered(0, 2, nil)...)
	var tries []delivery
	for _, x := range got.count(t, e, 5) {
		if x.number == 0 {
			tries = append(tries, x)
		}
	}
	require.Len(t, tries, 4)
	for i, x := range tries {
		require.Equal(t, i+1, x.attempt)
		require.Equal(t, tries[0].record.UUID, x.record.UUID)
		require.Equal(t, tries[0].record.Offset, x.record.Offset)
		if i > 0 {
			require.GreaterOrEqual(t, x.at.Sub(tries[i-1].at), lowest/2, "the back-off before attempt %d", i+1)
		}
	}
	if e.caps.Ordered {
		require.Equal(t, []int{0, 0, 0, 0, 1}, got.numbers(), "the next message waits until the nacked one is acknowledged")
	}
}

func panicIsNack(t *testing.T, e *env) {
	b := e.bus(t)
	topic := e.topic(t, b, 1)
	got := newRecorder()
	s := e.consume(t, b, topic, func(_ context.Context, d *bus.Delivery) error {
		got.add(d)
		if d.Attempt == 1 {
			panic("panic of a handler, thrown by the suite")
		}
		return nil
	})
	e.publish(t, b, topic, numbered(0, 1, nil)...)
	require.Equal(t, 2, got.count(t, e, 2)[1].attempt)
	e.close(t, s)
	require.NoError(t, s.Err())
}

func control(t *testing.T, e *env) {
	b := e.bus(t)
	topic := e.topic(t, b, 1)
	cause := errors.New("the disk is full")
	const pause = 30 * time.Millisecond
	got := newRecorder()
	s := e.consume(t, b, topic, func(_ context.Context, d *bus.Delivery) error {
		got.add(d)
		switch number(d) {
		case 0:
			return bus.Drop(cause)
		case 1:
			if d.Attempt == 1 {
				return bus.RetryAfter(pause, cause)
			}
			return nil
		default:
			return bus.Stop(cause)
		}
	})
	e.publishing(t, b, topic, numbered(0, 2, nil)...)
	var retried []time.Time
	for _, x := range got.count(t, e, 3) {
		if x.number == 1 {
			retried = append(retried, x.at)
		}
	}
	require.Len(t, retried, 2)
	require.GreaterOrEqual(t, retried[1].Sub(retried[0]), pause)
	if !e.h.PublishWaitsForAck { // the stopped subscription does not acknowledge message 2
		e.publishing(t, b, topic, numbered(2, 1, nil)...)
		await(t, e, s.Done(), "the handler stops the subscription")
		require.ErrorIs(t, s.Err(), cause)
	}
}

func prefix(t *testing.T, e *env) {
	b := e.bus(t)
	topic := e.topic(t, b, 1)
	const n, stuck = 8, 2
	acked := newRecorder()
	s := e.consume(t, b, topic, func(ctx context.Context, d *bus.Delivery) error {
		if number(d) == stuck {
			<-ctx.Done()
			return ctx.Err()
		}
		acked.add(d)
		return nil
	}, bus.Group(e.name("group")), bus.Unordered(), bus.Window(n))
	e.publish(t, b, topic, numbered(0, n, nil)...)
	acked.distinct(t, e, n-1)
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	requireCode(t, bus.CodeDeadlineExceeded, s.Shutdown(ctx), "a drain that a handler blocks")
	await(t, e, s.Done(), "the subscription ends")

	again := newRecorder()
	e.consume(t, b, topic, again.handler, bus.Group(e.name("group")))
	e.publish(t, b, topic, numbered(n, 1, nil)...)
	deliveries := again.last(t, e, n)
	require.Equal(t, stuck, deliveries[0].number, "delivery continues at the first unacknowledged message")
}

func ackThenClose(t *testing.T, e *env) {
	topic, next := "", 0
	for round := range 4 {
		b := e.bus(t, bus.WithSubscribeDefaults(bus.Group(e.name("group"))))
		if topic == "" {
			topic = e.topic(t, b, 1)
		}
		if round%2 == 0 { // through a channel
			channel, err := b.Subscribe(t.Context(), topic)
			require.NoError(t, err)
			e.publish(t, b, topic, numbered(next, 1, nil)...)
			m := e.receive(t, channel)
			require.Equal(t, string(numbered(next, 1, nil)[0].Payload), string(m.Payload), "no message is redelivered")
			m.Ack()
		} else { // through a handler
			got := newRecorder()
			s, err := b.Consume(t.Context(), topic, got.handler)
			require.NoError(t, err)
			e.publish(t, b, topic, numbered(next, 1, nil)...)
			require.Equal(t, next, got.count(t, e, 1)[0].number, "no message is redelivered")
			e.close(t, s)
		}
		e.closeBus(t, b)
		next++
	}
}

func crash(t *testing.T, e *env) {
	tr := e.transport(t)
	b := e.busOver(t, tr, bus.WithSubscribeDefaults(bus.Group(e.name("group")), bus.CommitInterval(0)))
	topic := e.topic(t, b, 1)
	begun := make(chan struct{}, 1)
	acked := newRecorder()
	_ = e.consume(t, b, topic, func(ctx context.Context, d *bus.Delivery) error {
		if number(d) < 3 {
			acked.add(d)
			return nil
		}
		select {
		case begun <- struct{}{}:
		default:
		}
		<-ctx.Done()
		return ctx.Err()
	})
	e.publish(t, b, topic, numbered(0, 5, nil)...)
	acked.count(t, e, 3)
	await(t, e, begun, "the handler of message 3 begins")
	e.h.Crash(t, tr)

	successor := e.bus(t)
	again := newRecorder()
	e.consume(t, successor, topic, again.handler, bus.Group(e.name("group")))
	again.distinct(t, e, 2)
	require.Equal(t, []int{3, 4}, again.numbers(), "committed messages are not redelivered, the others are")
}
