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

// member is one member of the group: a bus and a consumer.
type member struct {
	run      *run
	name     string
	bus      *bus.Bus
	kill     func()
	consumer *consumer.Consumer
	handling atomic.Int64
}

// maxWork is the longest duration of a handler.
const maxWork = 2 * time.Millisecond

// join adds a member to the group.
func (r *run) join() error {
	r.joined++
	m := &member{run: r, name: "member-" + strconv.Itoa(r.joined)}
	b, kill, err := r.plan.Open(m.name, bus.WithHooks(memberHook{m}))
	if err != nil {
		return fmt.Errorf("soak: open a bus for %s: %w", m.name, err)
	}
	m.bus, m.kill = b, kill
	m.consumer, err = consumer.New(b, r.plan.Topic, m.handle,
		bus.Group(r.plan.Group), bus.OrderByKey(),
		bus.Concurrency(r.plan.Workers),
		consumer.WithAttempts(3), bus.Backoff(time.Millisecond, 10*time.Millisecond),
		bus.DeadLetterTopic(r.plan.DeadLetterTopic),
		consumer.WithDrainTimeout(r.plan.Timeout/2))
	if err == nil {
		err = m.consumer.Start()
	}
	if err != nil {
		return errors.Join(fmt.Errorf("soak: %s: %w", m.name, err), b.Close())
	}
	r.members = append(r.members, m)
	return nil
}

var errOnPurpose = errors.New("soak: the handler fails on purpose")

func (m *member) handle(ctx context.Context, d *bus.Delivery) error {
	m.handling.Add(1)
	defer m.handling.Add(-1)
	message, err := strconv.Atoi(string(d.Payload))
	if err != nil || message < 0 || message >= m.run.plan.Messages {
		m.run.checker.report("unexplained: %s got a record at offset %d of partition %d that was not published", m.name, d.Record.Offset, d.Record.Partition)
		return bus.DeadLetter(err)
	}
	fails, work := m.run.plan.handling(message, m.run.checker.start(message, m.name))
	if work > 0 {
		sleep(ctx, work)
	}
	switch {
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case fails:
		m.run.checker.fail()
		return errOnPurpose
	}
	m.run.checker.finish(message, d.Record.Partition, d.Record.Offset, false)
	return nil
}

// memberHook records the commits and the dead letters of a member.
type memberHook struct{ m *member }

// OnCommit implements [hook.Commit].
func (h memberHook) OnCommit(e hook.CommitEvent) {
	h.m.run.checker.commit(h.m.name, e.Partition, e.Next, e.Err)
}

// OnDeadLetter implements [hook.DeadLetter].
func (h memberHook) OnDeadLetter(e hook.DeadLetterEvent) {
	if e.Err != nil {
		return // the consumer tries again
	}
	if message, err := strconv.Atoi(string(e.Record.Payload)); err == nil {
		h.m.run.checker.finish(message, e.Record.Partition, e.Record.Offset, true)
	}
}

// checkIdle reports a violation if a handler of the member runs.
func (m *member) checkIdle(after string) {
	if n := m.handling.Load(); n > 0 {
		m.run.checker.report("running: %d handlers of %s ran after %s", n, m.name, after)
	}
}

// close waits for the member's handlers and leaves the group.
func (m *member) close(ctx context.Context) error {
	if err := m.consumer.Shutdown(ctx); err != nil {
		return fmt.Errorf("soak: close %s: %w", m.name, errors.Join(err, m.bus.Shutdown(ctx)))
	}
	m.checkIdle("a close")
	if err := m.bus.Shutdown(ctx); err != nil {
		return fmt.Errorf("soak: close the bus of %s: %w", m.name, err)
	}
	return nil
}

// sleep waits for d, or until ctx ends.
func sleep(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}
