package bustest

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill"
	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/trunkline/trunkline/bus"
	"github.com/trunkline/trunkline/bus/hook"
	"github.com/trunkline/trunkline/transport/memory"
)

// Kit tests a program that uses a bus: it has a log in memory and a bus on it for the program,
// and it records what happens on them. Each kit has its own log, so tests can run in parallel.
//
// The kit's buses log to the test, so go test shows their lines only if the test fails or with -v.
//
// All methods are safe for concurrent use. The methods that fail the test must be called from
// the test's goroutine, because they call [testing.TB.Fatalf]: not from a handler.
type Kit struct {
	t   testing.TB
	ctx context.Context // ends the waits, see WithContext; if nil, only the kit's timeout ends them
	*shared
}

// shared is the state that a kit shares with the kits that WithContext returns.
type shared struct {
	settings
	log    *memory.Log
	rec    *Recorder
	out    *testLog
	bubble bool // the test runs inside testing/synctest
	leaks  *leakCheck
	first  *Client

	mu       sync.Mutex
	clients  []*Client
	stubs    []*Stub
	expected map[int]bool // the messages and deliveries that an Expect has returned, by Message.number
}

// New returns a kit for the test. It fails the test if an option is invalid or the kit cannot
// be created. When the test ends, the kit closes everything it has opened, and fails the test
// if that takes too long because a handler does not return.
func New(t testing.TB, opts ...Option) *Kit {
	t.Helper()
	k := &Kit{t: t, shared: &shared{settings: settings{partitions: 1, timeout: defaultTimeout, seed: 1},
		rec: NewRecorder(), out: &testLog{t: t}, bubble: inBubble(), expected: map[int]bool{}}}
	for _, o := range opts {
		o(&k.settings)
	}
	switch {
	case k.timeout <= 0:
		t.Fatalf("bustest: WithTimeout: the timeout must be greater than 0, got %v", k.timeout)
	case k.clock != nil && k.bubble:
		t.Fatalf("bustest: WithClock cannot be used inside testing/synctest, which has a clock of its own")
	}
	if k.goroutines {
		k.leaks = labelGoroutine()
	}
	t.Cleanup(k.close)
	var err error
	if k.log, err = memory.NewLog(memory.WithPartitions(k.partitions)); err != nil {
		t.Fatalf("bustest: %v", err)
	}
	k.first = k.NewClient()
	for _, name := range k.topics {
		k.CreateTopic(bus.TopicSpec{Name: name})
	}
	return k
}

// Bus returns the bus for the program under test. The kit closes it.
func (k *Kit) Bus() *bus.Bus { return k.first.bus }

// Faults returns the faults of [Kit.Bus]: failed publishes, a lost connection, late
// deliveries. See [OnPublish], [OnFetch] and [Faults.Disconnect].
func (k *Kit) Faults() *Faults { return k.first.faults }

// Log returns the log, which is the broker of all the kit's buses. Use it to make the broker
// unavailable to all of them, or to expire the members of a group.
func (k *Kit) Log() *memory.Log { return k.log }

// Recorder returns the recorder of everything that the kit's buses publish, deliver and commit.
func (k *Kit) Recorder() *Recorder { return k.rec }

// WithContext returns a kit that shares everything with k, but its waits end when ctx ends. If
// ctx has a deadline, the deadline replaces the kit's timeout.
func (k *Kit) WithContext(ctx context.Context) *Kit { return &Kit{t: k.t, ctx: ctx, shared: k.shared} }

// Consume subscribes the handler to a topic on [Kit.Bus] and waits until the subscription is
// ready: it receives every message that is published after Consume has returned. Without
// [bus.Group] it receives the messages from now on, and commits nothing.
func (k *Kit) Consume(topic string, h bus.Handler, opts ...bus.SubscribeOption) *bus.Subscription {
	k.t.Helper()
	return k.first.consume(k, topic, h, opts)
}

// Publish publishes one message with these properties, waits for its outcome, and returns the
// message as the log has it. It fails the test if the message cannot be published. Expect and
// ExpectNone ignore it, because the test itself published it.
func (k *Kit) Publish(topic string, properties ...Property) Message {
	k.t.Helper()
	m := message.NewMessage(watermill.NewUUID(), nil)
	for _, p := range properties {
		if p.set == nil {
			k.t.Fatalf("bustest: publish to %q: %s can only be expected of a message, not set", topic, p.name)
		}
		if err := p.set(m); err != nil {
			k.t.Fatalf("bustest: publish to %q: %s: %v", topic, p.name, err)
		}
	}
	return k.PublishMessages(topic, m)[0]
}

// PublishMessages is [Kit.Publish] for messages that the test has made. It publishes copies, in
// this order, and returns them as the log has them.
func (k *Kit) PublishMessages(topic string, messages ...*message.Message) []Message {
	k.t.Helper()
	w := k.startWait()
	defer w.cancel()
	published := make([]Message, len(messages))
	done := make([]chan struct{}, len(messages))
	for i, m := range messages {
		if m == nil {
			k.t.Fatalf("bustest: publish to %q: message %d is nil", topic, i)
		}
		done[i] = make(chan struct{})
		own := m.Copy()
		own.SetContext(context.WithValue(m.Context(), byTestKey{}, true))
		k.first.bus.PublishAsync(w.ctx, topic, own, func(o bus.Outcome) {
			published[i] = messageOfPublish(hook.PublishEvent{Topic: topic, Message: own, Outcome: o})
			close(done[i])
		})
	}
	for i := range published {
		select {
		case <-done[i]:
		case <-w.ctx.Done():
			k.t.Fatalf("bustest: publish to %q: no outcome %s", topic, w.bound())
		}
		if published[i].Err != nil {
			k.t.Fatalf("bustest: publish to %q: %v", topic, published[i].Err)
		}
	}
	return published
}

// Rebalance makes the broker rebalance the group on the topic. It revokes every partition, which
// ends the contexts of its handlers. Once they have returned, it assigns the partition to the
// next member, or to the same one if it is the only one. Rebalance does not wait for that.
func (k *Kit) Rebalance(group, topic string) {
	k.t.Helper()
	if err := k.log.Rebalance(group, topic); err != nil {
		k.t.Fatalf("bustest: %v", err)
	}
}

// CreateTopic creates a topic. If spec.Partitions is 0, the topic has the number of partitions
// that [WithPartitions] sets.
func (k *Kit) CreateTopic(spec bus.TopicSpec) {
	k.t.Helper()
	if err := k.first.transport.CreateTopic(context.Background(), spec); err != nil {
		k.t.Fatalf("bustest: %v", err)
	}
}

// close closes the stubs first, then the buses they are on.
func (k *Kit) close() {
	k.t.Helper()
	defer k.out.close()
	k.mu.Lock()
	clients, stubs := k.clients, k.stubs
	k.mu.Unlock()
	// A test with a short timeout expects failures; closing takes its usual time.
	timeout := max(k.timeout, defaultTimeout)
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
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
			k.t.Errorf("bustest: close: %v", err)
		}
	}
	if left := k.leaks.wait(timeout); left != "" {
		k.t.Errorf("bustest: goroutines of this test still run:\n%s", left)
	}
}

// wait is one bounded wait.
type wait struct {
	ctx     context.Context
	cancel  context.CancelFunc
	parent  context.Context
	timeout time.Duration // 0 if the parent has a deadline
}

func (k *Kit) startWait() wait {
	parent := k.ctx
	if parent == nil {
		parent = context.Background()
	}
	if _, ok := parent.Deadline(); ok {
		ctx, cancel := context.WithCancel(parent)
		return wait{ctx: ctx, cancel: cancel, parent: parent}
	}
	ctx, cancel := context.WithTimeout(parent, k.timeout)
	return wait{ctx: ctx, cancel: cancel, parent: parent, timeout: k.timeout}
}

// bound returns the part of a failure message that names the time-out or context of the wait.
func (w wait) bound() string {
	if cause := context.Cause(w.parent); cause != nil {
		return "before the context ended (" + cause.Error() + ")"
	}
	return "within " + w.timeout.String()
}
