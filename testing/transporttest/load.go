package transporttest

import (
	"context"
	"fmt"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/trunkline/trunkline/bus"
	"github.com/trunkline/trunkline/bus/driver"
)

// load publishes to a topic while a group reads it and members join, leave and crash. It checks
// that a handler gets a message only after the previous message with the same key was
// acknowledged, and that messages with the same key are not handled concurrently.
type load struct {
	e         *env
	topic     string
	publisher *bus.Bus
	published int
	handled   *recorder

	mu      sync.Mutex
	proceed chan struct{} // handlers wait until it is closed
	acked   map[int]bool
	running map[int]*groupMember // by key
}

type groupMember struct {
	tr      driver.Transport
	bus     *bus.Bus
	sub     *bus.Subscription
	crashed bool // guarded by load.mu; deliveries to the member are not checked
}

const loadKeys, loadStep = 16, 60

func newLoad(t *testing.T, e *env) *load {
	l := &load{e: e, publisher: e.bus(t), handled: newRecorder(), proceed: make(chan struct{}),
		acked: map[int]bool{}, running: map[int]*groupMember{}}
	close(l.proceed)
	l.topic = e.topic(t, l.publisher, partitions)
	return l
}

// handle waits until handlers may proceed. It nacks the first attempt of each eleventh message.
func (l *load) handle(m *groupMember, d *bus.Delivery) error {
	n := number(d)
	key := n % loadKeys
	l.mu.Lock()
	proceed := l.proceed
	if !m.crashed {
		if before := n - loadKeys; before >= 0 && !l.acked[before] {
			l.handled.fault("the handling of message %d started before message %d was acknowledged", n, before)
		}
		if r := l.running[key]; r != nil && !r.crashed {
			l.handled.fault("the handling of message %d started while another message of its key was handled", n)
		}
		l.running[key] = m
	}
	l.mu.Unlock()
	<-proceed
	nack := n%11 == 5 && d.Attempt == 1
	l.mu.Lock()
	if l.running[key] == m {
		delete(l.running, key)
	}
	l.acked[n] = l.acked[n] || !nack
	l.mu.Unlock()
	if nack {
		return errNack
	}
	l.handled.add(d)
	return nil
}

// join adds a member. It does not wait for the first assignment.
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

// leave starts to drain a member while its handlers wait.
func (l *load) leave(t *testing.T, m *groupMember) {
	left := make(chan struct{})
	go func() {
		defer close(left)
		ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), l.e.timeout())
		defer cancel()
		assert.NoError(t, m.sub.Shutdown(ctx), "the drain of a leaving member")
	}()
	cleanupAwait(t, l.e, left, "a leaving member is drained")
}

func (l *load) crash(t *testing.T, m *groupMember) {
	l.mu.Lock()
	m.crashed = true
	l.mu.Unlock()
	l.e.h.Crash(t, m.tr)
}

// step makes handlers wait, publishes, changes the group, publishes again, and releases the
// handlers. It does not wait for the rebalance to end.
func (l *load) step(t *testing.T, change func()) {
	t.Helper()
	proceed := make(chan struct{})
	l.mu.Lock()
	l.proceed = proceed
	l.mu.Unlock()
	release := sync.OnceFunc(func() { close(proceed) })
	t.Cleanup(release) // if the scenario fails, handlers must return before the buses are closed
	l.publish(t)
	change()
	l.publish(t)
	release()
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
	l.handled.requireNoFaults(t)
}
