package transporttest

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/trunkline/trunkline/bus"
	"github.com/trunkline/trunkline/bus/driver"
	"github.com/trunkline/trunkline/bus/hook"
	"github.com/trunkline/trunkline/testing/bustest"
)

// RunPrograms runs this many random programs. A program publishes, joins and leaves a group,
// crashes members, forces rebalances, nacks, and reads from an offset. RunPrograms compares the
// deliveries with a simple model of a log:
//
//   - Each record has the partition and the offset that its publisher received.
//   - A group receives each message at least once, and in the order of its key.
//   - A commit covers only acknowledged messages, and committed messages are not redelivered.
//   - A subscription that starts at an offset receives exactly the records from there on.
//
// The number of a program determines its steps, so the same programs run on every transport. If
// a program fails, its steps are printed.
//
// After three programs have failed, RunPrograms skips the others. It needs a transport with
// groups, replay, redelivery, order, keys and partitions, and is skipped without them.
// Programs crash members if Harness.Crash is set.
func RunPrograms(t *testing.T, h Harness, programs int) {
	t.Helper()
	h = h.withDefaults()
	var failed atomic.Int64
	for n := range programs {
		t.Run(fmt.Sprint("program ", n), func(t *testing.T) {
			t.Parallel()
			if failed.Load() >= maxFailedPrograms {
				t.Skipf("%d programs have failed", maxFailedPrograms)
			}
			e := newEnv(t, h)
			required := append(requirements{needOrder, needKeys, needWindow, needRedelivery}, needPartitionMoves...)
			if missing := required.check(t, e); missing != "" {
				t.Skipf("%s: %s", e.caps.Name, missing)
			}
			steps := programOf(h.Crash != nil).Example(n)
			t.Cleanup(func() {
				if t.Failed() {
					failed.Add(1)
					t.Logf("program %d: %s", n, strings.Join(texts(steps), "; "))
				}
			})
			p := newProgram(t, e)
			for _, s := range steps {
				p.do(t, s)
			}
			p.finish(t)
		})
	}
}

// step is one instruction.
type step struct {
	verb string
	// n is a number of messages, or selects a member or an offset, depending on the verb.
	n int
}

func texts(steps []step) []string {
	var all []string
	for _, s := range steps {
		all = append(all, fmt.Sprint(s.verb, " ", s.n))
	}
	return all
}

// programOf returns a generator of programs. Steps that change the group do not wait for
// handlers, so they run while messages are being handled.
func programOf(crashes bool) *rapid.Generator[[]step] {
	verbs := []string{"publish", "publish", "publish", "join", "join", "leave", "rebalance", "seek", "settle"}
	if crashes {
		verbs = append(verbs, "crash")
	}
	return rapid.SliceOfN(rapid.Custom(func(t *rapid.T) step {
		return step{rapid.SampledFrom(verbs).Draw(t, "verb"), rapid.IntRange(0, 30).Draw(t, "n")}
	}), 5, 20)
}

const (
	programKeys       = 6
	programMembers    = 3
	maxFailedPrograms = 3
)

// program runs the steps on a topic with a group, and maintains the model.
type program struct {
	e         *env
	topic     string
	publisher *bus.Bus
	handled   *recorder
	members   []*programMember

	mu sync.Mutex
	// The model.
	log       map[int32][]int    // numbers of the messages, by partition and offset
	place     map[int]bus.Record // partition and offset that the publisher received, by number
	acked     map[int]bool
	committed map[int32]int64 // next offset, by partition
}

type programMember struct {
	tr      driver.Transport
	faults  *bustest.Faults
	sub     *bus.Subscription
	crashed bool // guarded by program.mu
}

func newProgram(t *testing.T, e *env) *program {
	p := &program{e: e, publisher: e.bus(t), handled: newRecorder(), log: map[int32][]int{}, place: map[int]bus.Record{},
		acked: map[int]bool{}, committed: map[int32]int64{}}
	p.topic = e.topic(t, p.publisher, partitions)
	return p
}

func (p *program) do(t *testing.T, s step) {
	t.Helper()
	switch s.verb {
	case "publish":
		p.publish(t, s.n+1)
	case "join":
		if len(p.members) < programMembers {
			p.join(t)
		}
	case "leave":
		if m := p.pick(s.n); m != nil {
			ctx, cancel := p.e.context(t)
			defer cancel()
			require.NoError(t, m.sub.Shutdown(ctx))
		}
	case "crash":
		if m := p.pick(s.n); m != nil {
			p.mu.Lock()
			m.crashed = true
			p.mu.Unlock()
			p.e.h.Crash(t, m.tr)
		}
	case "rebalance":
		if len(p.members) > 0 {
			require.NoError(t, p.members[s.n%len(p.members)].faults.Rebalance(p.e.name("group"), p.topic))
		}
	case "seek":
		p.seek(t, int32(s.n%partitions), s.n)
	case "settle":
		if len(p.members) > 0 {
			p.settle(t)
		}
	}
}

// pick removes a member and returns it, nil if there is none.
func (p *program) pick(n int) *programMember {
	if len(p.members) == 0 {
		return nil
	}
	i := n % len(p.members)
	m := p.members[i]
	p.members = slices.Delete(p.members, i, i+1)
	return m
}

// publish publishes a batch, and adds it to the model.
func (p *program) publish(t *testing.T, n int) {
	t.Helper()
	p.mu.Lock()
	first := len(p.place)
	p.mu.Unlock()
	ms := numbered(first, n, func(i int) string { return fmt.Sprint("key-", i%programKeys) })
	outcomes := make([]bus.Outcome, n)
	var wg sync.WaitGroup
	wg.Add(n)
	for i, m := range ms {
		p.publisher.PublishAsync(t.Context(), p.topic, m, func(o bus.Outcome) {
			outcomes[i] = o
			wg.Done()
		})
	}
	done := make(chan struct{})
	go func() { defer close(done); wg.Wait() }()
	await(t, p.e, done, "every outcome is reported")
	p.mu.Lock()
	defer p.mu.Unlock()
	for i, o := range outcomes {
		require.NoError(t, o.Err)
		require.EqualValues(t, len(p.log[o.Partition]), o.Offset, "the offsets of a partition are consecutive")
		p.log[o.Partition] = append(p.log[o.Partition], first+i)
		p.place[first+i] = bus.Record{Partition: o.Partition, Offset: o.Offset}
	}
}

func (p *program) join(t *testing.T) {
	t.Helper()
	m := &programMember{tr: p.e.transport(t)}
	var err error
	m.faults, err = bustest.NewFaults(m.tr, 1)
	require.NoError(t, err)
	b := p.e.busOver(t, m.faults, bus.WithHooks(&programHook{p, m}))
	m.sub, err = b.Consume(context.WithoutCancel(t.Context()), p.topic,
		func(_ context.Context, d *bus.Delivery) error { return p.handle(m, d) },
		bus.Group(p.e.name("group")), bus.OrderByKey(), bus.Window(8), bus.CommitInterval(0))
	require.NoError(t, err)
	p.members = append(p.members, m)
}

// programHook adds commits to the model.
type programHook struct {
	p *program
	m *programMember
}

func (h *programHook) OnCommit(c hook.CommitEvent) {
	p := h.p
	p.mu.Lock()
	defer p.mu.Unlock()
	if c.Err != nil {
		return
	}
	if c.Next > p.committed[c.Partition] {
		p.committed[c.Partition] = c.Next
	}
	for offset, n := range p.log[c.Partition] {
		if int64(offset) < c.Next && !p.acked[n] {
			p.handled.fault("partition %d was committed up to %d, but message %d at offset %d was not acknowledged", c.Partition, c.Next, n, offset)
		}
	}
}

// handle checks the delivery against the model. It nacks the first attempt of every fifth message.
func (p *program) handle(m *programMember, d *bus.Delivery) error {
	n := number(d)
	nack := n%5 == 2 && d.Attempt == 1
	p.mu.Lock()
	if !m.crashed {
		p.check(n, d)
	}
	p.acked[n] = p.acked[n] || !nack
	p.mu.Unlock()
	if nack {
		return errNack
	}
	p.handled.add(d)
	return nil
}

// check compares the delivery with the model. The caller holds mu.
func (p *program) check(n int, d *bus.Delivery) {
	r := d.Record
	if at, ok := p.place[n]; ok && (at.Partition != r.Partition || at.Offset != r.Offset) {
		p.handled.fault("message %d is at %d:%d, but the publisher received %d:%d", n, r.Partition, r.Offset, at.Partition, at.Offset)
	}
	if before := n - programKeys; before >= 0 && !p.acked[before] {
		p.handled.fault("the handling of message %d started before message %d of its key was acknowledged", n, before)
	}
	if r.Offset < p.committed[r.Partition] && d.Attempt == 1 {
		p.handled.fault("message %d at %d:%d was delivered, although the group had committed %d", n, r.Partition, r.Offset, p.committed[r.Partition])
	}
}

// seek reads one partition from an offset to its current end.
func (p *program) seek(t *testing.T, partition int32, from int) {
	t.Helper()
	p.mu.Lock()
	all := slices.Clone(p.log[partition])
	p.mu.Unlock()
	from = min(from, len(all))
	got := newRecorder()
	b := p.e.bus(t)
	s := p.e.consume(t, b, p.topic, got.handler, bus.OnlyPartitions(partition), bus.FromOffset(int64(from)))
	want := all[from:]
	got.count(t, p.e, len(want))
	p.e.close(t, s)
	p.e.closeBus(t, b)
	require.Equal(t, append([]int{}, want...), append([]int{}, got.numbers()...), "partition %d from offset %d on", partition, from)
}

// settle waits until the group has handled everything.
func (p *program) settle(t *testing.T) {
	t.Helper()
	p.mu.Lock()
	n := len(p.place)
	p.mu.Unlock()
	p.handled.distinct(t, p.e, n)
	p.handled.requireNoFaults(t)
}

// finish waits until everything is handled, and checks what a new member receives.
func (p *program) finish(t *testing.T) {
	t.Helper()
	p.publish(t, programKeys)
	if len(p.members) == 0 {
		p.join(t)
	}
	p.settle(t)
	for partition := range int32(partitions) {
		p.seek(t, partition, 0)
	}
	for _, m := range p.members {
		p.e.close(t, m.sub)
	}
	p.handled.requireNoFaults(t)
	// Everything is committed, so a new member receives only new messages.
	last := len(p.handled.snapshot())
	p.members = nil
	p.join(t)
	p.publish(t, programKeys)
	p.settle(t)
	require.Len(t, p.handled.snapshot(), last+programKeys, "messages that were committed before the last member joined are not delivered to it")
}
