package soak

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/trunkline/trunkline/bus"
	"github.com/trunkline/trunkline/bus/consumer"
	"github.com/trunkline/trunkline/bus/hook"
)

// member is one program of the group: a bus and a consumer.
type member struct {
	run      *run
	name     string
	bus      *bus.Bus
	kill     func()
	consumer *consumer.Consumer
	handling atomic.Int64
}

// most is the longest that a handler takes.
const most = 2 * time.Millisecond

func (r *run) join() (*member, error) {
	r.joined++
	m := &member{run: r, name: "member-" + strconv.Itoa(r.joined)}
	b, kill, err := r.plan.Open(m.name, bus.WithHooks(witness{m}))
	if err != nil {
		return nil, fmt.Errorf("soak: open a bus for %s: %w", m.name, err)
	}
	m.bus, m.kill = b, kill
	m.consumer, err = consumer.New(b, r.plan.Topic, m.handle,
		consumer.Subscribe(bus.Group(r.plan.Group), bus.OrderByKey()),
		consumer.WithWorkers(r.plan.Workers),
		consumer.WithRetry(consumer.Retry{Attempts: 3, Min: time.Millisecond, Max: 10 * time.Millisecond}),
		consumer.WithDeadLetterTopic(r.plan.DeadLetters),
		consumer.WithDrainTimeout(r.plan.Patience/2))
	if err == nil {
		err = m.consumer.Start()
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("soak: %s: %w", m.name, err), b.Close())
	}
	r.members = append(r.members, m)
	return m, nil
}

var errOnPurpose = errors.New("soak: failed on purpose")

func (m *member) handle(ctx context.Context, d *bus.Delivery) error {
	m.handling.Add(1)
	defer m.handling.Add(-1)
	message, err := strconv.Atoi(string(d.Payload))
	if err != nil || message < 0 || message >= m.run.plan.Messages {
		m.run.tally.report("untrue: %s was given a record at %d of partition %d that nobody published", m.name, d.Record.Offset, d.Record.Partition)
		return bus.DeadLetter(err)
	}
	fails, share := m.run.plan.fate(message, m.run.tally.begin(message, m.name))
	if share > 0 {
		rest(ctx, most*time.Duration(share)/1000)
	}
	switch {
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case fails:
		m.run.tally.fail()
		return errOnPurpose
	}
	m.run.tally.finish(message, d.Record.Partition, d.Record.Offset, false)
	return nil
}

// witness is the hook of a member's bus.
type witness struct{ m *member }

// OnCommit implements [hook.Commit].
func (w witness) OnCommit(e hook.CommitEvent) {
	w.m.run.tally.commit(w.m.name, e.Partition, e.Next, e.Err)
}

// OnDeadLetter implements [hook.DeadLetter].
func (w witness) OnDeadLetter(e hook.DeadLetterEvent) {
	if e.Err != nil {
		return // it is tried again
	}
	if message, err := strconv.Atoi(string(e.Record.Payload)); err == nil {
		w.m.run.tally.finish(message, e.Record.Partition, e.Record.Offset, true)
	}
}

// idle says what is wrong when a handler runs that must not.
func (m *member) idle(after string) {
	if n := m.handling.Load(); n > 0 {
		m.run.tally.report("running: %d handlers of %s ran after %s", n, m.name, after)
	}
}

// close drains the member and leaves the group.
func (m *member) close(ctx context.Context) error {
	if err := m.consumer.Close(ctx); err != nil {
		return fmt.Errorf("soak: close %s: %w", m.name, errors.Join(err, m.bus.Shutdown(ctx)))
	}
	m.idle("a close")
	if err := m.bus.Shutdown(ctx); err != nil {
		return fmt.Errorf("soak: close the bus of %s: %w", m.name, err)
	}
	return nil
}

// rest waits, and returns why it was cut short.
func rest(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
