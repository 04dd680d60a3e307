package transporttest

import (
	"context"
	"fmt"
	"sync"
	"testing"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/stretchr/testify/require"

	"github.com/trunkline/trunkline/bus"
	"github.com/trunkline/trunkline/bus/driver"
)

var rebalanceScenarios = []scenario{
	{name: "RevokeEndsTheBackoffOfANack", needs: movable, run: revokeEndsBackoff},
	{name: "RevokeCancelsTheMessageWithItsCause", needs: movable, run: revokeCancels},
	{name: "RevokeCancelsTheSubscribedMessageWithItsCause", needs: movable, run: revokeCancelsSubscribed},
	{name: "NextOwnerWaitsForTheLastOnesHandlers", needs: movable, run: nextOwnerWaits},
	{name: "MembersJoinAndLeaveUnderLoad", needs: append(needs{needOrder, needKeys, needWindow}, movable...), run: joinAndLeave},
	{name: "MembersDieUnderLoad", needs: append(needs{needOrder, needKeys, needWindow, needRedelivery, needCrash}, movable...), run: joinLeaveAndDie},
	{name: "PartitionsAddedWhileSubscribed", needs: needs{needPartitions, needAddPartitions}, run: partitionsAdded},
}

// movable is what it takes for a partition to move from one member to another.
var movable = needs{needGroups, needReplay, needPartitions}

// onEach makes a message for each partition.
func onEach(first int) []*message.Message {
	ms := numbered(first, partitions, nil)
	for i, m := range ms {
		bus.SetPartition(m, int32(i))
	}
	return ms
}

func revokeEndsBackoff(t *testing.T, e *env) {
	one, two := e.bus(t), e.bus(t)
	topic := e.topic(t, one, partitions)
	e.publish(t, one, topic, onEach(0)...)
	nacked, acked := newLog(), newLog()
	s := e.consume(t, one, topic, func(_ context.Context, d *bus.Delivery) error {
		nacked.add(d)
		return bus.RetryAfter(1000*e.h.Patience, errPlease)
	}, bus.Group(e.name("group")))
	nacked.count(t, e, partitions)
	e.consume(t, two, topic, acked.handler, bus.Group(e.name("group")))
	for _, x := range acked.count(t, e, 1) {
		require.Equal(t, 1, x.attempt, "attempts are counted by who has the partition")
	}
	e.close(t, s)
	acked.distinct(t, e, partitions)
}

func revokeCancels(t *testing.T, e *env) {
	one, two := e.bus(t), e.bus(t)
	topic := e.topic(t, one, partitions)
	e.publish(t, one, topic, onEach(0)...)
	causes, enough := make(chan error, 100), make(chan struct{})
	begun, acked := newLog(), newLog()
	e.consume(t, one, topic, func(ctx context.Context, d *bus.Delivery) error {
		begun.add(d)
		select {
		case <-ctx.Done():
			if d.Context.Err() == nil {
				panic("the context of the message outlives the handler's")
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
	requireCode(t, bus.CodeRevoked, e.cause(t, causes), "the cause of a revoked message's end")
	close(enough)
	acked.distinct(t, e, partitions)
}

func (e *env) cause(t *testing.T, causes <-chan error) error {
	t.Helper()
	ctx, cancel := e.patience(t)
	defer cancel()
	select {
	case err := <-causes:
		return err
	case <-ctx.Done():
		require.FailNow(t, "no message's context ended")
		return nil
	}
}

func revokeCancelsSubscribed(t *testing.T, e *env) {
	group := bus.WithSubscribeDefaults(bus.Group(e.name("group")))
	one, assigned := e.watchedBus(t, group)
	two := e.bus(t, group)
	topic := e.topic(t, one, partitions)
	channel, err := one.Subscribe(t.Context(), topic)
	require.NoError(t, err)
	e.awaits(t, assigned, "the subscription is assigned")
	e.publish(t, one, topic, onEach(0)...)
	causes := make(chan error, partitions)
	var held []*message.Message
	for range partitions {
		m := e.receive(t, channel)
		held = append(held, m)
		context.AfterFunc(m.Context(), func() { causes <- context.Cause(m.Context()) })
	}
	acked := newLog()
	e.consume(t, two, topic, acked.handler)
	requireCode(t, bus.CodeRevoked, e.cause(t, causes), "the cause of a revoked message's end")
	acked.count(t, e, 1)
	for _, m := range held {
		m.Ack()
	}
}

// nextOwnerWaits has handlers that do not return when their partition is revoked.
func nextOwnerWaits(t *testing.T, e *env) {
	one, two, apart := e.bus(t), e.bus(t), e.bus(t)
	topic, other := e.topic(t, one, partitions), e.topic(t, one, 1)
	e.publish(t, one, topic, onEach(0)...)
	heads := make(chan struct{}) // closed when the first member's handlers may return
	var once sync.Once
	letGo := func() { once.Do(func() { close(heads) }) }
	t.Cleanup(letGo)
	revoked := make(chan struct{}, 100)
	begun, ended, next, apartLog := newLog(), newLog(), newLog(), newLog()
	e.consume(t, one, topic, func(ctx context.Context, d *bus.Delivery) error {
		defer context.AfterFunc(ctx, func() { revoked <- struct{}{} })()
		begun.add(d)
		<-heads
		ended.add(d)
		return nil
	}, bus.Group(e.name("group")))
	begun.count(t, e, partitions)
	joined, err := two.Consume(context.WithoutCancel(t.Context()), topic, next.handler, bus.Group(e.name("group")))
	require.NoError(t, err)
	e.awaits(t, revoked, "a partition is revoked")
	// Time for the other member to do what it must not.
	e.consume(t, apart, other, apartLog.handler)
	for i := range 20 {
		e.publish(t, apart, other, numbered(i, 1, nil)...)
		apartLog.count(t, e, i+1)
	}
	require.Empty(t, next.snapshot(), "side by side with the last owner's handlers")
	letGo()
	e.ready(t, joined)
	ended.count(t, e, partitions)
	e.publish(t, apart, topic, onEach(partitions)...)
	e.eventually(t, "both get what is theirs", func() bool { return covered(2*partitions, ended, next) }, ended, next)
	for _, x := range next.snapshot() {
		require.GreaterOrEqual(t, x.number, partitions, "what was acknowledged while it was revoked is not delivered again")
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

func joinLeaveAndDie(t *testing.T, e *env) {
	l := newLoad(t, e)
	a := l.join(t)
	b := l.join(t)
	l.step(t, func() { l.join(t) })
	l.step(t, func() { l.die(t, b) })
	l.step(t, func() { l.join(t) })
	l.step(t, func() { l.die(t, a) })
	l.finish(t)
}

// load is a topic that is published to, and a group that reads it, while its members
// come and go. It looks out for a message of a key that is begun before the one that
// precedes it was acknowledged, or while that one is handled.
type load struct {
	e         *env
	topic     string
	publisher *bus.Bus
	published int
	handled   *log

	mu      sync.Mutex
	gate    chan struct{} // handlers wait until it is closed
	acked   map[int]bool
	running map[int]*groupMember // by key
	faults  []string
}

type groupMember struct {
	tr   driver.Transport
	bus  *bus.Bus
	sub  *bus.Subscription
	dead bool // guarded by load.mu: what it does counts for nothing
}

const loadKeys, loadStep = 16, 60

func newLoad(t *testing.T, e *env) *load {
	l := &load{e: e, publisher: e.bus(t), handled: newLog(), gate: make(chan struct{}),
		acked: map[int]bool{}, running: map[int]*groupMember{}}
	close(l.gate)
	l.topic = e.topic(t, l.publisher, partitions)
	return l
}

// handle waits at the gate, and acknowledges all but one in eleven at the first go.
func (l *load) handle(m *groupMember, d *bus.Delivery) error {
	n := number(d)
	key := n % loadKeys
	l.mu.Lock()
	gate := l.gate
	if !m.dead {
		if before := n - loadKeys; before >= 0 && !l.acked[before] {
			l.faults = append(l.faults, fmt.Sprintf("message %d was begun before message %d was acknowledged", n, before))
		}
		if r := l.running[key]; r != nil && !r.dead {
			l.faults = append(l.faults, fmt.Sprintf("message %d was begun while another of its key was handled", n))
		}
		l.running[key] = m
	}
	l.mu.Unlock()
	<-gate
	nack := n%11 == 5 && d.Attempt == 1
	l.mu.Lock()
	if l.running[key] == m {
		delete(l.running, key)
	}
	l.acked[n] = l.acked[n] || !nack
	l.mu.Unlock()
	if nack {
		return errPlease
	}
	l.handled.add(d)
	return nil
}

// join adds a member; it is on its way to its first assignment.
func (l *load) join(t *testing.T) *groupMember {
	m := &groupMember{tr: l.e.transport(t)}
	m.bus = l.e.busOver(t, m.tr)
	var err error
	m.sub, err = m.bus.Consume(context.WithoutCancel(t.Context()), l.topic,
		func(_ context.Context, d *bus.Delivery) error { return l.handle(m, d) },
		bus.Group(l.e.name("group")), bus.OrderByKey(), bus.Window(16))
	require.NoError(t, err)
	return m
}

// leave begins to drain a member, whose handlers are waiting.
func (l *load) leave(t *testing.T, m *groupMember) {
	left := make(chan error, 1)
	go func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), l.e.h.Patience)
		defer cancel()
		left <- m.sub.Shutdown(ctx)
	}()
	t.Cleanup(func() { require.NoError(t, <-left, "a member leaves") })
}

func (l *load) die(t *testing.T, m *groupMember) {
	l.mu.Lock()
	m.dead = true
	l.mu.Unlock()
	l.e.h.Crash(t, m.tr)
}

// step shuts the gate, publishes, waits until handlers are held up, lets change
// happen to the group, and opens the gate again. The group need not have settled.
func (l *load) step(t *testing.T, change func()) {
	t.Helper()
	gate := make(chan struct{})
	l.mu.Lock()
	l.gate = gate
	l.mu.Unlock()
	open := sync.OnceFunc(func() { close(gate) })
	t.Cleanup(open) // before the buses are closed, whatever happens
	l.publish(t)
	change()
	l.publish(t)
	open()
	l.handled.distinct(t, l.e, l.published/2)
}

func (l *load) publish(t *testing.T) {
	t.Helper()
	l.e.publish(t, l.publisher, l.topic, numbered(l.published, loadStep, func(n int) string { return fmt.Sprint("key-", n%loadKeys) })...)
	l.published += loadStep
}

func (l *load) finish(t *testing.T) {
	t.Helper()
	l.publish(t)
	l.handled.distinct(t, l.e, l.published)
	l.mu.Lock()
	defer l.mu.Unlock()
	require.Empty(t, l.faults)
}

func partitionsAdded(t *testing.T, e *env) {
	tr := e.transport(t)
	b := e.busOver(t, tr)
	topic := e.topic(t, b, 2)
	logs := []*log{newLog()}
	e.consume(t, b, topic, logs[0].handler)
	if e.caps.Groups {
		logs = append(logs, newLog())
		e.consume(t, b, topic, logs[1].handler, bus.Group(e.name("group")))
	}
	e.publish(t, b, topic, numbered(0, 4, nil)...)
	for _, l := range logs {
		l.distinct(t, e, 4)
	}
	e.h.AddPartitions(t, tr, topic, 2)
	fresh := e.bus(t) // knows of the new partitions at once
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
	require.Len(t, logs[0].snapshot(), 8, "without a group each message comes once")
}
