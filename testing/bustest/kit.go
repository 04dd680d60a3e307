package bustest

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill"
	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/trunkline/trunkline/bus"
	"github.com/trunkline/trunkline/transport/memory"
)

// Kit is a log in memory, a bus on it for the program under test, and what a test wants to
// know of both. Every kit has a log of its own, so tests may run side by side. Its methods
// may be called from many goroutines at once, but for those that fail the test at once:
// like [testing.TB.FailNow] these are for the test's goroutine.
type Kit struct {
	t   testing.TB
	ctx context.Context // ends the waits; nil for the kit's patience alone
	*world
}

// world is what a kit shares with those that Within makes of it.
type world struct {
	settings
	log    *memory.Log
	rec    *Recorder
	bubble bool // runs in testing/synctest
	leak   *leakCheck
	first  *Client

	mu      sync.Mutex
	clients []*Client
	stubs   []*Stub
	taken   map[int]bool // what was expected, by Message.number
}

// New returns a kit for the test, which it fails when something can't be made. It closes
// everything when the test ends, and fails the test when that can't be done because a
// handler does not return.
func New(t testing.TB, opts ...Option) *Kit {
	t.Helper()
	k := &Kit{t: t, world: &world{settings: settings{partitions: 1, patience: DefaultPatience, seed: 1},
		rec: NewRecorder(), bubble: inBubble(), taken: map[int]bool{}}}
	for _, o := range opts {
		o(&k.settings)
	}
	switch {
	case k.patience <= 0:
		t.Fatalf("bustest: the patience is %v: it has to be over zero", k.patience)
	case k.clock != nil && k.bubble:
		t.Fatalf("bustest: in a testing/synctest bubble the clock is the bubble's: leave StartClock out")
	}
	if k.goroutines {
		k.leak = watchGoroutines()
	}
	t.Cleanup(k.close)
	var err error
	if k.log, err = memory.NewLog(memory.WithPartitions(k.partitions)); err != nil {
		t.Fatalf("bustest: %v", err)
	}
	k.first = k.NewClient()
	for _, spec := range k.topics {
		if err := k.first.transport.CreateTopic(context.Background(), spec); err != nil {
			t.Fatalf("bustest: %v", err)
		}
	}
	return k
}

// Bus returns the bus for the program under test. The kit closes it.
func (k *Kit) Bus() *bus.Bus { return k.first.bus }

// Faults returns what makes [Kit.Bus] misbehave: publishing that fails, a broker that is
// away, a delivery that is late. See [OnPublish], [OnFetch] and [Faults.Disconnect].
func (k *Kit) Faults() *Faults { return k.first.faults }

// Log returns the log, as the broker that the buses are clients of: to take it away from
// all of them at once, or to let a group's members expire.
func (k *Kit) Log() *memory.Log { return k.log }

// Recorder returns what was published, delivered and committed on the kit's buses.
func (k *Kit) Recorder() *Recorder { return k.rec }

// Within returns the same kit with another bound: its waits end when ctx does, and not for
// lack of patience when ctx has a deadline.
func (k *Kit) Within(ctx context.Context) *Kit { return &Kit{t: k.t, ctx: ctx, world: k.world} }

// Consume subscribes the handler on [Kit.Bus] and waits until it is ready: what is published
// afterwards is seen. Without a Group option it sees everything that is published from now
// on; what the test then can't see are commits, as there are none.
func (k *Kit) Consume(topic string, h bus.Handler, opts ...bus.SubscribeOption) *bus.Subscription {
	k.t.Helper()
	return k.first.consume(k, topic, h, opts)
}

// Publish publishes one message that has these properties, and returns it as it is in the
// log. It is the test's own: Expect and ExpectNone look at what others publish.
func (k *Kit) Publish(topic string, properties ...Property) Message {
	k.t.Helper()
	m := message.NewMessage(watermill.NewUUID(), nil)
	for _, p := range properties {
		if p.set == nil {
			k.t.Fatalf("bustest: publish to %q: %s is something to expect of a message, it can't be given to one", topic, p.name)
		}
		if err := p.set(m); err != nil {
			k.t.Fatalf("bustest: publish to %q: %s: %v", topic, p.name, err)
		}
	}
	return k.PublishMessages(topic, m)[0]
}

// PublishMessages publishes messages that the test has made, in this order, and returns them
// as they are in the log. They stay the caller's.
func (k *Kit) PublishMessages(topic string, messages ...*message.Message) []Message {
	k.t.Helper()
	w := k.wait()
	defer w.end()
	all := make([]Message, len(messages))
	done := make([]chan struct{}, len(messages))
	for i, m := range messages {
		if m == nil {
			k.t.Fatalf("bustest: publish to %q: message %d is nil", topic, i)
		}
		done[i] = make(chan struct{})
		own := m.Copy()
		own.SetContext(context.WithValue(m.Context(), byTestKey{}, true))
		k.first.bus.PublishAsync(w.ctx, topic, own, func(o bus.Outcome) {
			all[i] = ofPublish(bus.PublishEvent{Topic: topic, Message: own, Outcome: o})
			close(done[i])
		})
	}
	for i := range all {
		select {
		case <-done[i]:
		case <-w.ctx.Done():
			k.t.Fatalf("bustest: publish to %q: no outcome %s", topic, w.bound())
		}
		if all[i].Err != nil {
			k.t.Fatalf("bustest: publish to %q: %v", topic, all[i].Err)
		}
	}
	return all
}

// Rebalance makes the members of the group on the topic change places: every partition is
// revoked, its handlers' contexts end, and the next member gets it once they have returned,
// the only one again. It does not wait for that.
func (k *Kit) Rebalance(group, topic string) {
	k.t.Helper()
	if err := k.log.Rebalance(group, topic); err != nil {
		k.t.Fatalf("bustest: %v", err)
	}
}

// CreateTopic makes one more topic; no partitions means the kit's number.
func (k *Kit) CreateTopic(spec bus.TopicSpec) {
	k.t.Helper()
	if err := k.first.transport.CreateTopic(context.Background(), spec); err != nil {
		k.t.Fatalf("bustest: %v", err)
	}
}

// close is the test's cleanup.
func (k *Kit) close() {
	k.t.Helper()
	k.mu.Lock()
	clients, stubs := k.clients, k.stubs
	k.mu.Unlock()
	// Who expects something for a short while only does not want to be closed in a hurry.
	patience := max(k.patience, DefaultPatience)
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	var closing sync.WaitGroup
	errs := make([]error, len(stubs)+len(clients))
	for i, s := range stubs {
		closing.Go(func() { errs[i] = s.server.Shutdown(ctx) })
	}
	closing.Wait()
	for i, c := range clients {
		closing.Go(func() { errs[len(stubs)+i] = c.close(ctx) })
	}
	closing.Wait()
	for _, err := range errs {
		if err != nil {
			k.t.Errorf("bustest: closing the kit's buses: %v", err)
		}
	}
	if left := k.leak.find(patience); left != "" {
		k.t.Errorf("bustest: goroutines that this test started are left:\n%s", left)
	}
}

// waiting bounds one wait.
type waiting struct {
	ctx      context.Context
	end      context.CancelFunc
	parent   context.Context
	patience time.Duration // 0 when the parent has the deadline
}

func (k *Kit) wait() waiting {
	parent := k.ctx
	if parent == nil {
		parent = context.Background()
	}
	if _, ok := parent.Deadline(); ok {
		ctx, cancel := context.WithCancel(parent)
		return waiting{ctx: ctx, end: cancel, parent: parent}
	}
	ctx, cancel := context.WithTimeout(parent, k.patience)
	return waiting{ctx: ctx, end: cancel, parent: parent, patience: k.patience}
}

// bound is why a wait is over, for people.
func (w waiting) bound() string {
	if cause := context.Cause(w.parent); cause != nil {
		return "before the context ended (" + cause.Error() + ")"
	}
	return "within " + w.patience.String()
}
