package liveness

import (
	"context"
	"sync"
	"time"

	"github.com/trunkline/trunkline/bus"
	"github.com/trunkline/trunkline/internal/seam"
	"github.com/trunkline/trunkline/liveness/probe"
)

// Monitor observes a bus and keeps one service of a probe registry up to date. All
// methods are safe for concurrent use.
type Monitor struct {
	bus     *bus.Bus
	watcher *watcher
	reg     *probe.Registry
	cfg     config
	board   *board

	ctx     context.Context // ends with Shutdown
	stop    context.CancelFunc
	detach  func()             // removes the watcher from the bus
	done    chan struct{}      // closed when the monitor has ended
	decided chan chan struct{} // channels that watch closes after its next decision
	ended   chan struct{}      // closed when there are no more decisions

	mu    sync.Mutex
	begun bool // Run was called, or Shutdown was called first

	// machine is used by New, and afterwards by the goroutine of Run only.
	machine machine
	running sync.WaitGroup // the ping under way, and the logging

	pingObservers pingObservers
}

// Attach starts a monitor of the bus, which reports to reg. The monitor runs on
// goroutines of its own until it is closed, or until it finds the bus closed, which takes
// half a second at most with the default intervals.
//
// It may be called at any time in the life of the bus. It does not wait for the broker:
// the service is Prepared until the first answer. It returns an error if b or reg is nil,
// or if an option is invalid.
func Attach(b *bus.Bus, reg *probe.Registry, opts ...Option) (*Monitor, error) {
	m, err := New(b, reg, opts...)
	if err != nil {
		return nil, err
	}
	if err := m.begin(); err != nil {
		return nil, err
	}
	go m.run(context.Background())
	return m, nil
}

// New is Attach for a program that runs the monitor itself, with [Monitor.Run]. The
// service is Preparing until then. A monitor that is not run must be closed.
func New(b *bus.Bus, reg *probe.Registry, opts ...Option) (*Monitor, error) {
	switch {
	case b == nil:
		return nil, invalid("the bus is nil")
	case reg == nil:
		return nil, invalid("the registry is nil: make one with probe.New")
	}
	cfg, err := newConfig(opts)
	if err != nil {
		return nil, err
	}
	if cfg.logger == nil {
		cfg.logger = seam.Of(b).Logger()
	}
	m := &Monitor{bus: b, watcher: newWatcher(!cfg.onlyRequired), reg: reg, cfg: cfg, board: newBoard(cfg.history), done: make(chan struct{}),
		decided: make(chan chan struct{}), ended: make(chan struct{})}
	if m.cfg.ping == nil {
		m.cfg.ping = m.pingBus
	}
	m.machine.times = cfg.times
	m.ctx, m.stop = context.WithCancel(context.Background())
	m.detach = seam.Of(b).AddHook(m.watcher)
	reg.Register(cfg.service, probe.WithDetails(m.details))
	m.decide()
	return m, nil
}

// ServiceName returns the name of the service in the registry.
func (m *Monitor) ServiceName() string { return m.cfg.service }

// Require makes readiness depend on these subscriptions of the bus, from now on. The
// service is not ready until each of them has had its first assignment. Afterwards it is not
// ready while one of them has been without its assignment for longer than the grace period.
// A subscription that has ended keeps the service not ready until it is passed to
// [Monitor.Ignore].
//
// If the monitor runs, the registry has the resulting status when Require returns. A ready
// rule of the registry must not call Require.
func (m *Monitor) Require(subs ...*bus.Subscription) {
	for _, s := range subs {
		m.watcher.require(s)
	}
	m.awaitDecision()
}

// Ignore makes readiness independent of these subscriptions. Call it before a required
// subscription is closed, and for a subscription that ended with an error and is not
// replaced. If the monitor runs, the registry has the resulting status when Ignore returns.
// A ready rule of the registry must not call Ignore.
func (m *Monitor) Ignore(subs ...*bus.Subscription) {
	for _, s := range subs {
		m.watcher.ignore(s)
	}
	m.awaitDecision()
}

// awaitDecision returns when a running monitor has made a decision that began after the
// call.
func (m *Monitor) awaitDecision() {
	m.mu.Lock()
	begun := m.begun
	m.mu.Unlock()
	if !begun {
		return // the first decision of Run is still to come
	}
	made := make(chan struct{})
	select {
	case m.decided <- made:
	case <-m.ended:
		return
	}
	select {
	case <-made:
	case <-m.ended:
	}
}

// Subscriptions returns the subscriptions that readiness depends on, and those that were
// assigned or failed to get an assignment, in the order in which the monitor first
// observed them. Subscriptions that have ended are left out.
func (m *Monitor) Subscriptions() []*bus.Subscription { return m.watcher.active() }

// Run runs the monitor until ctx ends, the monitor is closed, or the bus is closed. It
// then returns nil; the service is Stopped and the last ping has ended. A monitor runs
// once: Run returns an error with CodeAlreadyExists if the monitor was started before,
// and with CodeClosed if it was closed.
func (m *Monitor) Run(ctx context.Context) error {
	if err := m.begin(); err != nil {
		return err
	}
	m.run(ctx)
	return nil
}

// Shutdown stops the monitor. It makes the service Stopped, cancels the ping under way
// and waits until the ping and the observers have returned. If ctx ends first, Shutdown
// returns an error. It is idempotent, and later calls wait, too.
func (m *Monitor) Shutdown(ctx context.Context) error {
	m.stop()
	if m.begin() == nil { // it was never run
		m.end()
		close(m.ended)
		close(m.done)
		return nil
	}
	select {
	case <-m.done:
		return nil
	case <-ctx.Done():
		return &bus.Error{Code: bus.CodeOf(ctx.Err()), Op: "stop the monitor of " + m.cfg.service, Reason: "the ping under way, or an observer, has not returned", Err: ctx.Err()}
	}
}

// Close is [Monitor.Shutdown] with a time-out of 5 s.
func (m *Monitor) Close() error {
	ctx, cancel := context.WithTimeout(context.Background(), closeTimeout)
	defer cancel()
	return m.Shutdown(ctx)
}

// Done returns a channel that is closed when the monitor has ended.
func (m *Monitor) Done() <-chan struct{} { return m.done }

func (m *Monitor) begin() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.begun {
		return runsOnce("monitor", m.cfg.service, m.ctx.Err() != nil)
	}
	m.begun = true
	return nil
}

func (m *Monitor) run(ctx context.Context) {
	defer close(m.done)
	ctx, cancel := context.WithCancel(ctx)
	defer context.AfterFunc(m.ctx, cancel)()
	m.machine.started = true
	m.running.Go(func() { m.logChanges(ctx) })
	m.watch(ctx)
	cancel()
	m.end()
	close(m.ended)
	m.running.Wait()
}

// watch makes a decision at every event, and at the latest when verdict.wake comes.
func (m *Monitor) watch(ctx context.Context) {
	results := make(chan error, 1) // one ping at a time, so sending never blocks
	timer := time.NewTimer(0)
	defer timer.Stop()
	var made chan struct{} // to be closed after the next decision
	for {
		v := m.decide()
		if made != nil {
			close(made)
			made = nil
		}
		if m.machine.closed {
			return
		}
		if v.ping {
			began := m.watcher.now()
			m.running.Go(func() {
				err := m.ping(ctx, began)
				took := m.watcher.now() - began
				results <- err
				m.pingObservers.notify(PingResult{Duration: time.Duration(took), Err: err})
			})
		}
		timer.Reset(time.Until(v.wake))
		select {
		case <-ctx.Done():
			return
		case <-m.watcher.wake:
		case <-timer.C:
		case made = <-m.decided:
		case err := <-results:
			if ctx.Err() != nil {
				return
			}
			m.machine.pinged(err, m.watcher.facts())
		}
	}
}

// decide steps the machine, and updates the board and the registry.
func (m *Monitor) decide() verdict {
	v := m.step()
	// A sign of life between the step and this Swap does not wake the monitor. So decide
	// wakes it once more.
	if w := m.watcher; w.eager.Swap(v.eager) != v.eager && v.eager {
		w.signal()
	}
	return v
}

func (m *Monitor) step() verdict {
	now, f := m.look()
	v := m.machine.step(now, f)
	if m.board.post(now, v, f.heard) {
		m.reg.Update(m.cfg.service, v.status, v.cause)
	}
	return v
}

// look returns facts and a time that is not before any of them.
func (m *Monitor) look() (time.Time, facts) {
	f := m.watcher.facts()
	return m.watcher.at(m.watcher.now()), f
}

// end detaches the watcher from the bus, and makes the service Stopped.
func (m *Monitor) end() {
	m.detach()
	m.machine.closed = true
	m.decide()
}

// runsOnce returns the error for running a monitor or a checker that was started before, or
// that was closed.
func runsOnce(what, service string, closed bool) error {
	op := "run the " + what + " of " + service
	if closed {
		return &bus.Error{Code: bus.CodeClosed, Op: op, Reason: "the " + what + " was closed: make another one"}
	}
	return &bus.Error{Code: bus.CodeAlreadyExists, Op: op, Reason: "the " + what + " was started before: make another one"}
}
