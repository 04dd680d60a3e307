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
	{name: "NackIsDeliveredAgainAfterABackoff", run: nackBackoff},
	{name: "HandlerPanicIsANack", run: panicIsNack},
	{name: "HandlersControl", run: control},
	{name: "OnlyTheAcknowledgedPrefixIsCommitted", needs: needs{needGroups, needReplay, needRedelivery, needWindow}, run: prefix},
	{name: "AckThenCloseIsNotRedelivered", needs: needs{needGroups, needReplay, needRedelivery}, run: ackThenClose},
	{name: "CrashRedeliversWhatWasNotCommitted", needs: needs{needGroups, needReplay, needRedelivery, needCrash}, run: crash},
}

func nackBackoff(t *testing.T, e *env) {
	b := e.bus(t)
	topic := e.topic(t, b, 1)
	const lowest = 20 * time.Millisecond
	got := newLog()
	e.consume(t, b, topic, func(_ context.Context, d *bus.Delivery) error {
		got.add(d)
		if number(d) == 0 && d.Attempt < 4 {
			return errPlease
		}
		return nil
	}, bus.Backoff(lowest, 4*lowest))
	e.publish(t, b, topic, numbered(0, 2, nil)...)
	var tries []entry
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
		require.Equal(t, []int{0, 0, 0, 0, 1}, got.numbers(), "what is ordered after it waits")
	}
}

func panicIsNack(t *testing.T, e *env) {
	b := e.bus(t)
	topic := e.topic(t, b, 1)
	got := newLog()
	s := e.consume(t, b, topic, func(_ context.Context, d *bus.Delivery) error {
		got.add(d)
		if d.Attempt == 1 {
			panic("a handler's bug")
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
	got := newLog()
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
	entries := got.count(t, e, 3)
	var retried []time.Time
	for _, x := range entries {
		if x.number == 1 {
			retried = append(retried, x.at)
		}
	}
	require.Len(t, retried, 2)
	require.GreaterOrEqual(t, retried[1].Sub(retried[0]), pause)
	if !e.h.AckToPublish { // nobody would acknowledge it
		e.publishing(t, b, topic, numbered(2, 1, nil)...)
		e.awaits(t, s.Done(), "the handler stops the subscription")
		require.ErrorIs(t, s.Err(), cause)
	}
}

func prefix(t *testing.T, e *env) {
	b := e.bus(t)
	topic := e.topic(t, b, 1)
	const n, stuck = 8, 2
	acked := newLog()
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
	requireCode(t, bus.CodeDeadlineExceeded, s.Shutdown(ctx), "a drain that a handler holds up")
	e.awaits(t, s.Done(), "the handler's context ends")

	again := newLog()
	e.consume(t, b, topic, again.handler, bus.Group(e.name("group")))
	e.publish(t, b, topic, numbered(n, 1, nil)...)
	entries := again.until(t, e, "the message after those", func(es []entry) bool {
		return len(es) > 0 && es[len(es)-1].number == n
	})
	require.Equal(t, stuck, entries[0].number, "delivery goes on at the first that was not acknowledged")
}

func ackThenClose(t *testing.T, e *env) {
	topic, next := "", 0
	for round := range 4 {
		b := e.bus(t, bus.WithSubscribeDefaults(bus.Group(e.name("group"))))
		if topic == "" {
			topic = e.topic(t, b, 1)
		}
		if round%2 == 0 { // through the channel
			channel, err := b.Subscribe(t.Context(), topic)
			require.NoError(t, err)
			e.publish(t, b, topic, numbered(next, 1, nil)...)
			m := e.receive(t, channel)
			require.Equal(t, string(numbered(next, 1, nil)[0].Payload), string(m.Payload), "nothing is delivered again")
			m.Ack()
		} else { // through a handler
			got := newLog()
			s, err := b.Consume(t.Context(), topic, got.handler)
			require.NoError(t, err)
			e.publish(t, b, topic, numbered(next, 1, nil)...)
			require.Equal(t, next, got.count(t, e, 1)[0].number, "nothing is delivered again")
			e.close(t, s)
		}
		require.NoError(t, b.Close())
		next++
	}
}

func crash(t *testing.T, e *env) {
	tr := e.transport(t)
	b := e.busOver(t, tr, bus.WithSubscribeDefaults(bus.Group(e.name("group")), bus.CommitInterval(0)))
	topic := e.topic(t, b, 1)
	begun := make(chan struct{}, 1)
	acked := newLog()
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
	e.awaits(t, begun, "the handler of message 3")
	e.h.Crash(t, tr)

	heir := e.bus(t)
	again := newLog()
	e.consume(t, heir, topic, again.handler, bus.Group(e.name("group")))
	again.distinct(t, e, 2)
	require.Equal(t, []int{3, 4}, again.numbers(), "what was committed is not delivered again, the rest is")
}
