package liveness

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/ThreeDotsLabs/watermill"
	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/trunkline/trunkline/bus"
	"github.com/trunkline/trunkline/liveness/probe"
)

// Monitor keeps one service of a probe registry up to date with what a watcher sees
// of a bus. All methods may be called concurrently.
//
// Its goroutines are one that decides, which is Run's, and one for the probe under
// way; Run waits for it.
type Monitor struct {
	bus     *bus.Bus
	watcher *Watcher
	reg     *probe.Registry
	cfg     config
	board   *board

	ctx  context.Context // ends with Close
	stop context.CancelFunc
	done chan struct{} // closed when Run has returned, or can't begin any more

	mu    sync.Mutex
	begun bool // Run was called, or Close before it

	// machine belongs to whoever runs; before that to New.
	machine machine
	running sync.WaitGroup // the probe under way

	onProbe probeObservers
}

// New makes the monitor of a bus that was made with watcher among its hooks, and
// registers its service as Preparing. It starts nothing: Run or Start does. The bus
// and the registry stay the caller's; close the monitor before the bus, or the
// service is Stopped only when the next probe finds the bus closed.
func New(b *bus.Bus, watcher *Watcher, reg *probe.Registry, opts ...Option) (*Monitor, error) {
	switch {
	case b == nil:
		return nil, invalid("the bus is nil")
	case watcher == nil:
		return nil, invalid("the watcher is nil: make one with NewWatcher, and the bus with bus.WithHooks(watcher)")
	case reg == nil:
		return nil, invalid("the registry is nil: make one with probe.New")
	}
	m := &Monitor{bus: b, watcher: watcher, reg: reg, cfg: defaults(), done: make(chan struct{})}
	for _, o := range opts {
		if err := o(&m.cfg); err != nil {
			return nil, err
		}
	}
	if !b.Connection().Since.IsZero() && !watcher.seesConnection() {
		return nil, invalid("the watcher sees nothing of this bus: make the bus with bus.WithHooks(watcher)")
	}
	if !watcher.monitored.CompareAndSwap(false, true) {
		return nil, invalid("the watcher has a monitor already: it can have one only")
	}
	if m.cfg.prober == nil {
		m.cfg.prober = m.ask
	}
	if m.cfg.all {
		watcher.mu.Lock()
		watcher.all = true
		watcher.mu.Unlock()
	}
	m.board = newBoard(m.cfg.history)
	m.machine.times = m.cfg.times
	m.ctx, m.stop = context.WithCancel(context.Background())
	reg.Register(m.cfg.service, probe.WithDetails(m.details))
	m.decide()
	return m, nil
}

// ServiceName returns the service's name in the registry.
func (m *Monitor) ServiceName() string { return m.cfg.service }

// Require makes readiness depend on these subscriptions of the bus. One that was
// never assigned makes the service not ready at once, one that lost its assignment
// after the grace, and one that has ended at once, until [Monitor.Forget].
func (m *Monitor) Require(subs ...*bus.Subscription) {
	for _, s := range subs {
		m.watcher.require(s, true)
	}
}

// Forget undoes Require, before a required subscription is closed for instance. With
// WithAllSubscriptions it is for those that ended with an error; one that lives stays
// required.
func (m *Monitor) Forget(subs ...*bus.Subscription) {
	for _, s := range subs {
		m.watcher.require(s, false)
	}
}

// Start runs the monitor on a goroutine of its own until Close or the bus is
// closed. It fails if it was started or closed before.
func (m *Monitor) Start() error {
	if err := m.begin(); err != nil {
		return err
	}
	go m.run(context.Background())
	return nil
}

// Run runs the monitor until ctx ends, Close is called, or the bus is closed, and
// then returns nil, the service being Stopped and the last probe over. It fails at
// once if it was started or closed before.
func (m *Monitor) Run(ctx context.Context) error {
	if err := m.begin(); err != nil {
		return err
	}
	m.run(ctx)
	return nil
}

// Close stops the monitor: the service is Stopped, and the probe under way is
// cancelled and waited for, as long as ctx allows. It is idempotent; later calls wait
// too.
func (m *Monitor) Close(ctx context.Context) error {
	m.stop()
	if m.begin() == nil { // it never ran, and never will
		m.end()
		close(m.done)
		return nil
	}
	select {
	case <-m.done:
		return nil
	case <-ctx.Done():
		return &bus.Error{Code: bus.CodeOf(ctx.Err()), Op: "close the monitor", Reason: "the probe under way has not ended", Err: ctx.Err()}
	}
}

// Done is closed when the monitor has ended.
func (m *Monitor) Done() <-chan struct{} { return m.done }

func (m *Monitor) begin() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.begun {
		code, reason := bus.CodeAlreadyExists, "it was started before: a monitor runs once"
		if m.ctx.Err() != nil {
			code, reason = bus.CodeClosed, "it was closed: make another watcher, bus and monitor"
		}
		return &bus.Error{Code: code, Op: "start the monitor of " + m.cfg.service, Reason: reason}
	}
	m.begun = true
	return nil
}

func (m *Monitor) run(ctx context.Context) {
	defer close(m.done)
	ctx, cancel := context.WithCancel(ctx)
	defer context.AfterFunc(m.ctx, cancel)()
	m.machine.started = true
	m.watch(ctx)
	cancel()
	m.end()
	m.running.Wait()
}

// watch decides whenever there is news, or it is time to.
func (m *Monitor) watch(ctx context.Context) {
	results := make(chan error, 1) // one probe at a time: it is never waited for
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		v := m.decide()
		if m.machine.closed {
			return
		}
		if v.probe {
			began := m.watcher.now()
			m.running.Go(func() {
				err := m.probe(ctx, began)
				took := m.watcher.now() - began
				results <- err
				m.onProbe.tell(Probe{Duration: time.Duration(took), Err: err})
			})
		}
		timer.Reset(time.Until(v.wake))
		select {
		case <-ctx.Done():
			return
		case <-m.watcher.wake:
		case <-timer.C:
		case err := <-results:
			if ctx.Err() != nil {
				return
			}
			m.machine.probed(err, m.watcher.facts())
		}
	}
}

// decide takes a step, and tells the observers and the registry.
func (m *Monitor) decide() verdict {
	w := m.watcher
	v := m.step()
	// What came between the look and the wish to be woken would be overlooked.
	if w.eager.Swap(v.eager) != v.eager && v.eager {
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

// end makes the service Stopped.
func (m *Monitor) end() {
	m.machine.closed = true
	m.decide()
}

// probe makes one probe, which the watcher sees like everything else.
func (m *Monitor) probe(ctx context.Context, began int64) (err error) {
	ctx, cancel := withPatience(ctx, m.cfg.times.probe)
	defer cancel()
	defer func() {
		if p := recover(); p != nil {
			err = &bus.Error{Code: bus.CodeInternal, Op: opProbe, Reason: fmt.Sprintf("the prober panicked: %v", p)}
		}
		switch {
		case err == nil:
			m.watcher.alive(m.watcher.now(), began)
		case MeaningOf(err) == Refusal:
			m.watcher.failed(err)
		case bus.CodeOf(err) == bus.CodeCanceled && context.Cause(ctx) == context.DeadlineExceeded:
			err = &bus.Error{Code: bus.CodeDeadlineExceeded, Op: opProbe, Reason: fmt.Sprintf("no answer within %v", m.cfg.times.probe), Err: err}
		}
	}()
	return m.cfg.prober(ctx)
}

// ask is the prober of those who named none.
func (m *Monitor) ask(ctx context.Context) error {
	err := m.bus.Ping(ctx)
	if err == nil || m.cfg.topic == "" || bus.CodeOf(err) != bus.CodeUnsupported {
		return err
	}
	msg := message.NewMessage(watermill.NewUUID(), []byte("liveness probe"))
	msg.SetContext(ctx)
	return m.bus.Publish(m.cfg.topic, msg)
}
