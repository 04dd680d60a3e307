package liveness_test

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/trunkline/trunkline/bus"
	"github.com/trunkline/trunkline/bus/driver"
	"github.com/trunkline/trunkline/liveness"
	"github.com/trunkline/trunkline/liveness/probe"
)

// fake is a transport with a broker that a test controls.
type fake struct {
	mu       sync.Mutex
	observe  func(driver.Connection)
	ping     func(ctx context.Context) error
	publish  error // the outcome of every message
	pings    int
	topics   []string // of what was published
	sessions chan *fakeSession
}

func newFake() *fake {
	return &fake{ping: func(context.Context) error { return nil }, sessions: make(chan *fakeSession, 10)}
}

func (f *fake) Capabilities() driver.Capabilities {
	return driver.Capabilities{Name: "fake", Groups: true}
}

func (f *fake) Publish(batch []driver.Outgoing) {
	f.mu.Lock()
	err := f.publish
	for _, o := range batch {
		f.topics = append(f.topics, o.Topic)
	}
	f.mu.Unlock()
	for i := range batch {
		batch[i].Complete(driver.Outcome{Partition: -1, Offset: -1, Err: err})
	}
}

func (f *fake) Subscribe(context.Context, driver.Subscription) (driver.Session, error) {
	s := &fakeSession{events: make(chan driver.Event), failed: make(chan error)}
	f.sessions <- s
	return s, nil
}

func (f *fake) Ready(context.Context) error { return nil }

func (f *fake) Ping(ctx context.Context) error {
	f.mu.Lock()
	f.pings++
	ping := f.ping
	f.mu.Unlock()
	return ping(ctx)
}

// Observe reports that the fake is connecting. report reports another state.
func (f *fake) Observe(observe func(driver.Connection)) {
	f.observe = observe
	f.report(driver.Connecting, nil)
}

func (f *fake) Close(context.Context) error { return nil }

func (f *fake) report(state driver.ConnectionState, cause error) {
	f.observe(driver.Connection{State: state, Cause: cause, Since: time.Now()})
}

func (f *fake) setPing(ping func(context.Context) error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.ping = ping
}

func (f *fake) setPublish(err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.publish = err
}

func (f *fake) pinged() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.pings
}

func (f *fake) published() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return append([]string(nil), f.topics...)
}

type fakeSession struct {
	events chan driver.Event
	failed chan error
}

func (s *fakeSession) Next(ctx context.Context) (driver.Event, error) {
	select {
	case e := <-s.events:
		return e, nil
	case err := <-s.failed:
		return driver.Event{}, err
	case <-ctx.Done():
		return driver.Event{}, ctx.Err()
	}
}

func (s *fakeSession) Close(context.Context) error { return nil }

// answer returns the ping of a broker that answers, with an error or without.
func answer(err error) func(context.Context) error {
	return func(context.Context) error { return err }
}

func silent(ctx context.Context) error {
	<-ctx.Done()
	return ctx.Err()
}

var (
	errGone        = &bus.Error{Code: bus.CodeUnavailable, Op: "connect", Reason: "connection refused"}
	errDenied      = &bus.Error{Code: bus.CodeUnauthenticated, Op: "connect", Reason: "wrong password"}
	errUnsupported = &bus.Error{Code: bus.CodeUnsupported, Op: "ping"}
)

// rig is a bus on a fake, and a monitor that does not run yet.
type rig struct {
	t       *testing.T
	fake    *fake
	bus     *bus.Bus
	reg     *probe.Registry
	monitor *liveness.Monitor
	running sync.WaitGroup
}

func newRig(t *testing.T, opts ...liveness.Option) *rig {
	t.Helper()
	return newRigOn(t, probe.New(), opts...)
}

func newRigOn(t *testing.T, reg *probe.Registry, opts ...liveness.Option) *rig {
	t.Helper()
	r := &rig{t: t, fake: newFake(), reg: reg}
	var err error
	r.bus, err = bus.New(r.fake)
	require.NoError(t, err)
	r.monitor, err = liveness.New(r.bus, r.reg, opts...)
	require.NoError(t, err)
	return r
}

func (r *rig) start() *rig {
	r.running.Go(func() {
		if err := r.monitor.Run(context.Background()); bus.CodeOf(err) != bus.CodeClosed { // Close was called before Run
			assert.NoError(r.t, err)
		}
	})
	return r
}

// close ends everything, as a synctest bubble requires.
func (r *rig) close() {
	assert.NoError(r.t, r.monitor.Close())
	assert.NoError(r.t, r.bus.Close())
	r.running.Wait()
}

func (r *rig) status() probe.Status {
	s, ok := r.reg.Snapshot().Service(r.monitor.ServiceName())
	require.True(r.t, ok)
	state := r.monitor.State()
	require.Equal(r.t, s.Status, state.Status)
	require.Equal(r.t, s.Cause, state.Cause)
	return s.Status
}

func (r *rig) send() error {
	return r.bus.Publish("orders", message.NewMessage("1", []byte("x")))
}

// until waits for a status and returns how long that took.
func (r *rig) until(want probe.Status) time.Duration {
	r.t.Helper()
	begun := time.Now()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	for snap := range r.reg.Watch(ctx) {
		if s, _ := snap.Service(r.monitor.ServiceName()); s.Status == want {
			return time.Since(begun)
		}
	}
	r.t.Fatalf("the service never became %s: %+v", want, r.monitor.State())
	return 0
}

func statuses(history []liveness.State) []probe.Status {
	var got []probe.Status
	for _, s := range history {
		got = append(got, s.Status)
	}
	return got
}
