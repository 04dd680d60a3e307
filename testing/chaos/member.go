package chaos

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/trunkline/trunkline/bus"
	"github.com/trunkline/trunkline/bus/hook"
)

// member is one member of a group, with its own bus.
type member struct {
	run        *Run
	name       string
	group      string
	bus        *bus.Bus
	disconnect func()
	sub        *bus.Subscription
}

func (r *Run) join(ctx context.Context, group string) (*member, error) {
	r.joined++
	m := &member{run: r, name: fmt.Sprintf("%s-%d", group, r.joined), group: group}
	b, disconnect, err := r.load.Open(m.name, bus.WithHooks(commitHook{r}))
	if err != nil {
		return nil, fmt.Errorf("chaos: open a bus for %s: %w", m.name, err)
	}
	m.bus, m.disconnect = b, disconnect
	m.sub, err = b.Consume(ctx, r.load.Topic, m.handle, bus.Group(group), bus.OrderByKey(), bus.Backoff(20*time.Millisecond, time.Second))
	if err != nil {
		return nil, errors.Join(fmt.Errorf("chaos: subscribe %s: %w", m.name, err), b.Close())
	}
	return m, nil
}

var errOnPurpose = errors.New("chaos: the handler fails once on purpose")

// handle takes up to 2 ms, so that the records of a key wait for each other. It fails for one record in
// 199, once.
func (m *member) handle(ctx context.Context, d *bus.Delivery) error {
	e := Event{Kind: Started, Place: Place{d.Record.Partition, d.Record.Offset}, Group: m.group, Claim: m.run.claims.number(ctx)}
	var err error
	if e.Message, err = parse(d.Payload); err != nil {
		return err
	}
	m.run.history.record(e)
	sleep(ctx, rand.N(2*time.Millisecond))
	switch {
	case ctx.Err() != nil:
		err = context.Cause(ctx)
	case d.Attempt == 1 && d.Record.Offset%199 == 198:
		err = errOnPurpose
	}
	e.Kind = Handled
	if err != nil {
		e.Kind = HandlerFailed
	}
	m.run.history.record(e)
	if err == nil {
		m.run.progress.addHandled(m.group, e.Place)
	}
	return err
}

// close waits for the member's handlers and leaves the group.
func (m *member) close(ctx context.Context) error {
	if err := m.bus.Shutdown(ctx); err != nil {
		return fmt.Errorf("chaos: close the bus of %s: %w", m.name, err)
	}
	return nil
}

// claims numbers the claims. It identifies a claim by the context of its handlers: all handlers of a
// claim have the same context, and other claims have other contexts.
type claims struct {
	mu      sync.Mutex
	numbers map[context.Context]int
}

func (c *claims) number(ctx context.Context) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.numbers == nil {
		c.numbers = make(map[context.Context]int)
	}
	n, ok := c.numbers[ctx]
	if !ok {
		n = len(c.numbers) + 1
		c.numbers[ctx] = n
	}
	return n
}

// commitHook records the commits of the members.
type commitHook struct{ run *Run }

// OnCommit implements [hook.Commit].
func (h commitHook) OnCommit(e hook.CommitEvent) {
	kind := Committed
	if e.Err != nil {
		kind = CommitFailed
		h.run.progress.addError("commit", e.Err)
	}
	h.run.history.record(Event{Kind: kind, Place: Place{e.Partition, e.Next}, Group: e.Group})
}
