package transporttest

import (
	"context"
	"sync"
	"testing"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/stretchr/testify/require"

	"github.com/trunkline/trunkline/bus"
)

var rebalanceScenarios = []scenario{
	{name: "RevocationEndsRetryBackoff", needs: needPartitionMoves, run: revokeEndsBackoff},
	{name: "RevocationEndsHandlerContextWithCause", needs: needPartitionMoves, run: revokeCancels},
	{name: "RevocationEndsSubscribedMessageContextWithCause", needs: needPartitionMoves, run: revokeCancelsSubscribed},
	{name: "NextOwnerWaitsForHandlersOfPreviousOwner", needs: needPartitionMoves, run: nextOwnerWaits},
	{name: "OrderByKeyHoldsWhileMembersJoinAndLeave", needs: append(requirements{needOrder, needKeys, needWindow}, needPartitionMoves...), run: joinAndLeave},
	{name: "OrderByKeyHoldsWhileMembersCrash", needs: append(requirements{needOrder, needKeys, needWindow, needRedelivery, needCrash}, needPartitionMoves...), run: joinAndCrash},
	{name: "SubscriptionsReadAddedPartitions", needs: requirements{needPartitions, needAddPartitions}, run: partitionsAdded},
}

func revokeEndsBackoff(t *testing.T, e *env) {
	one, two := e.bus(t), e.bus(t)
	topic := e.topic(t, one, partitions)
	e.publish(t, one, topic, onEach(0)...)
	nacked, acked := newRecorder(), newRecorder()
	s := e.consume(t, one, topic, func(_ context.Context, d *bus.Delivery) error {
		nacked.add(d)
		return bus.RetryAfter(1000*e.timeout(), errNack)
	}, bus.Group(e.name("group")))
	nacked.count(t, e, partitions)
	e.consume(t, two, topic, acked.handler, bus.Group(e.name("group")))
	for _, x := range acked.count(t, e, 1) {
		require.Equal(t, 1, x.attempt, "each owner of a partition counts its own attempts")
	}
	e.close(t, s)
	acked.distinct(t, e, partitions)
}

func revokeCancels(t *testing.T, e *env) {
	one, two := e.bus(t), e.bus(t)
	topic := e.topic(t, one, partitions)
	e.publish(t, one, topic, onEach(0)...)
	causes, enough := make(chan error, 100), make(chan struct{})
	begun, acked := newRecorder(), newRecorder()
	e.consume(t, one, topic, func(ctx context.Context, d *bus.Delivery) error {
		begun.add(d)
		select {
		case <-ctx.Done():
			if d.Context.Err() == nil {
				begun.fault("the context of the handler ended, but that of its delivery did not")
			}
			causes <- context.Cause(d.Context)
			return ctx.Err()
		case <-enough:
			acked.add(d)
			return nil
		}
	}, bus.Group(e.name("group")))
	begun.count(t, e, partitions)
	e.consume(t, two, topic, acked.handler, bus.Group(e.name("group")))
	requireCode(t, bus.CodeRevoked, await(t, e, causes, "the context of a message ends"), "the cause with which the context of a revoked message ends")
	close(enough)
	acked.distinct(t, e, partitions)
}

func revokeCancelsSubscribed(t *testing.T, e *env) {
	group := bus.WithSubscribeDefaults(bus.Group(e.name("group")))
	one, two := e.bus(t, group), e.bus(t, group)
	topic := e.topic(t, one, partitions)
	channel, err := one.Subscribe(t.Context(), topic)
	require.NoError(t, err)
	e.publish(t, one, topic, onEach(0)...)
	causes := make(chan error, partitions)
	var held []*message.Message
	for range partitions {
		m := e.receive(t, channel)
		held = append(held, m)
		context.AfterFunc(m.Context(), func() { causes <- context.Cause(m.Context()) })
	}
	acked := newRecorder()
	e.consume(t, two, topic, acked.handler)
	requireCode(t, bus.CodeRevoked, await(t, e, causes, "the context of a message ends"), "the cause with which the context of a revoked message ends")
	acked.count(t, e, 1)
	for _, m := range held {
		m.Ack()
	}
}

// nextOwnerWaits uses handlers that do not return when their partition is revoked.
func nextOwnerWaits(t *testing.T, e *env) {
	one, two, unrelated := e.bus(t), e.bus(t), e.bus(t)
	topic, other := e.topic(t, one, partitions), e.topic(t, one, 1)
	e.publish(t, one, topic, onEach(0)...)
	release := make(chan struct{}) // closed when the handlers of the first member may return
	var once sync.Once
	finish := func() { once.Do(func() { close(release) }) }
	t.Cleanup(finish)
	revoked := make(chan struct{}, 100)
	begun, ended, next, unrelatedLog := newRecorder(), newRecorder(), newRecorder(), newRecorder()
	e.consume(t, one, topic, func(ctx context.Context, d *bus.Delivery) error {
		defer context.AfterFunc(ctx, func() { revoked <- struct{}{} })()
		begun.add(d)
		<-release
		ended.add(d)
		return nil
	}, bus.Group(e.name("group")))
	begun.count(t, e, partitions)
	joined, err := two.Consume(context.WithoutCancel(t.Context()), topic, next.handler, bus.Group(e.name("group")))
	require.NoError(t, err)
	await(t, e, revoked, "a partition is revoked")
	// Use another topic until 20 messages have arrived there. That gives the next owner time to
	// start too early.
	e.consume(t, unrelated, other, unrelatedLog.handler)
	for i := range 20 {
		e.publish(t, unrelated, other, numbered(i, 1, nil)...)
		unrelatedLog.count(t, e, i+1)
	}
	require.Empty(t, next.snapshot(), "a message is delivered to the next owner while handlers of the previous one run")
	finish()
	e.ready(t, joined)
	ended.count(t, e, partitions)
	e.publish(t, unrelated, topic, onEach(partitions)...)
	untilCovered(t, e, 2*partitions, ended, next)
	for _, x := range next.snapshot() {
		require.GreaterOrEqual(t, x.number, partitions, "a message that was acknowledged during the revocation is not redelivered")
	}
}

func joinAndLeave(t *testing.T, e *env) {
	l := newLoad(t, e)
	a := l.join(t)
	l.step(t, func() { l.join(t) })
	c := l.join(t)
	l.step(t, func() { l.leave(t, a) })
	l.step(t, func() { l.join(t) })
	l.step(t, func() { l.leave(t, c) })
	l.finish(t)
}

func joinAndCrash(t *testing.T, e *env) {
	l := newLoad(t, e)
	a := l.join(t)
	b := l.join(t)
	l.step(t, func() { l.join(t) })
	l.step(t, func() { l.crash(t, b) })
	l.step(t, func() { l.join(t) })
	l.step(t, func() { l.crash(t, a) })
	l.finish(t)
}

func partitionsAdded(t *testing.T, e *env) {
	tr := e.transport(t)
	b := e.busOver(t, tr)
	topic := e.topic(t, b, 2)
	logs := []*recorder{newRecorder()}
	e.consume(t, b, topic, logs[0].handler)
	if e.caps.Groups {
		logs = append(logs, newRecorder())
		e.consume(t, b, topic, logs[1].handler, bus.Group(e.name("group")))
	}
	e.publish(t, b, topic, numbered(0, 4, nil)...)
	for _, l := range logs {
		l.distinct(t, e, 4)
	}
	e.h.AddPartitions(t, tr, topic, 2)
	fresh := e.bus(t) // a new client sees the new partitions at once
	ms := onEach(4)
	e.publish(t, fresh, topic, ms...)
	for _, l := range logs {
		l.distinct(t, e, 8)
		for _, x := range l.snapshot() {
			if x.number >= 4 {
				require.EqualValues(t, x.number-4, x.record.Partition)
			}
		}
	}
	require.Len(t, logs[0].snapshot(), 8, "a subscription without a group receives each message once")
}
