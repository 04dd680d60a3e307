package liveness

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/trunkline/trunkline/bus"
	"github.com/trunkline/trunkline/liveness/probe"
)

// Checker looks at every broker and at the topics a program needs, at an interval, and
// keeps one service of a probe registry up to date with what it finds:
//
//	OK        Running
//	WARNING   Running, with the message as the cause: there is less to spare
//	CRITICAL  NotReady
//
// It complements a [Monitor], which knows sooner whether the bus can be used, and knows
// nothing of single brokers and topics. A bus whose transport has no brokers to look at
// is Running, and the cause says so. All methods may be called concurrently.
type Checker struct {
	bus  *bus.Bus
	reg  *probe.Registry
	spec bus.CheckSpec
	cfg  checkConfig

	ctx  context.Context // ends with Close
	stop context.CancelFunc
	done chan struct{} // closed when Run has returned, or can't begin any more

	mu    sync.Mutex
	begun bool // Run was called, or Close before it

	last atomic.Pointer[Check] // nil before the first
}

// Check is what a checker found, and when.
type Check struct {
	bus.Health
	// At is when the check ended.
	At time.Time
	// Duration is how long it took.
	Duration time.Duration
	// Err is set when there was nothing to look at: Unsupported, or Closed.
	Err error
}

// NewChecker makes a checker of b, and registers its service as Preparing, with what
// the last check found as details. It starts nothing: Run or Start does. The bus and the
// registry stay the caller's; close the checker before the bus.
func NewChecker(b *bus.Bus, reg *probe.Registry, spec bus.CheckSpec, opts ...CheckOption) (*Checker, error) {
	switch {
	case b == nil:
		return nil, invalid("the bus is nil")
	case reg == nil:
		return nil, invalid("the registry is nil: make one with probe.New")
	case spec.MinBrokers < 0 || spec.MinInSync < 0 || spec.BrokerTimeout < 0:
		return nil, invalid("the check's bounds are negative")
	}
	c := &Checker{bus: b, reg: reg, spec: spec, done: make(chan struct{}),
		cfg: checkConfig{service: DefaultCheckName, interval: DefaultCheckInterval, retry: DefaultCheckRetry}}
	for _, o := range opts {
		if err := o(&c.cfg); err != nil {
			return nil, err
		}
	}
	c.ctx, c.stop = context.WithCancel(context.Background())
	reg.Register(c.cfg.service, probe.WithDetails(c.details))
	reg.Update(c.cfg.service, probe.Preparing, nil)
	return c, nil
}

// ServiceName returns the service's name in the registry.
func (c *Checker) ServiceName() string { return c.cfg.service }

// Last returns what was found last, and false before the first check has ended.
func (c *Checker) Last() (Check, bool) {
	last := c.last.Load()
	if last == nil {
		return Check{}, false
	}
	return *last, true
}

// Start runs the checker on a goroutine of its own until Close or the bus is closed. It
// fails if it was started or closed before.
func (c *Checker) Start() error {
	if err := c.begin(); err != nil {
		return err
	}
	go c.run(context.Background())
	return nil
}

// Run checks at once and then at the interval, until ctx ends, Close is called, or the
// bus is closed. It then returns nil, the service being Stopped and the last check over.
// It fails at once if it was started or closed before.
func (c *Checker) Run(ctx context.Context) error {
	if err := c.begin(); err != nil {
		return err
	}
	c.run(ctx)
	return nil
}

// Close stops the checker: the service is Stopped, and the check under way is cancelled
// and waited for, as long as ctx allows. It is idempotent; later calls wait too.
func (c *Checker) Close(ctx context.Context) error {
	c.stop()
	if c.begin() == nil { // it never ran, and never will
		c.reg.Update(c.cfg.service, probe.Stopped, nil)
		close(c.done)
		return nil
	}
	select {
	case <-c.done:
		return nil
	case <-ctx.Done():
		return &bus.Error{Code: bus.CodeOf(ctx.Err()), Op: "close the checker", Reason: "the check under way has not ended", Err: ctx.Err()}
	}
}

// Done is closed when the checker has ended.
func (c *Checker) Done() <-chan struct{} { return c.done }

func (c *Checker) begin() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.begun {
		code, reason := bus.CodeAlreadyExists, "it was started before: a checker runs once"
		if c.ctx.Err() != nil {
			code, reason = bus.CodeClosed, "it was closed: make another one"
		}
		return &bus.Error{Code: code, Op: "start the checker of " + c.cfg.service, Reason: reason}
	}
	c.begun = true
	return nil
}

func (c *Checker) run(ctx context.Context) {
	defer close(c.done)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(c.ctx, cancel)()
	defer c.reg.Update(c.cfg.service, probe.Stopped, nil)
	c.reg.Update(c.cfg.service, probe.Prepared, nil)
	for {
		found := c.check(ctx)
		if ctx.Err() != nil || bus.CodeOf(found.Err) == bus.CodeClosed {
			return
		}
		c.last.Store(&found)
		status, pause, cause := c.judge(found)
		c.reg.Update(c.cfg.service, status, cause)
		timer := time.NewTimer(pause)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return
		}
	}
}

// check is bounded by twice what each broker is given: those that only metadata names
// are asked after the others.
func (c *Checker) check(ctx context.Context) (found Check) {
	each := c.spec.BrokerTimeout
	if each == 0 {
		each = time.Second
	}
	began := time.Now()
	ctx, cancel := context.WithTimeout(ctx, 2*each+each/2)
	defer cancel()
	defer func() {
		if p := recover(); p != nil {
			found.Health = bus.Health{Status: bus.HealthCritical, Message: fmt.Sprintf("the check panicked: %v", p)}
		}
		found.At = time.Now()
		found.Duration = found.At.Sub(began)
	}()
	found.Health, found.Err = c.bus.Check(ctx, c.spec)
	return found
}

func (c *Checker) judge(found Check) (status probe.Status, pause time.Duration, cause error) {
	switch {
	case found.Err != nil:
		return probe.Running, c.cfg.interval, found.Err
	case found.Status == bus.HealthOK:
		return probe.Running, c.cfg.interval, nil
	}
	cause = errors.New(found.Status.String() + ": " + found.Message)
	if found.Status == bus.HealthWarning {
		return probe.Running, c.cfg.interval, cause
	}
	return probe.NotReady, min(c.cfg.retry, c.cfg.interval), &bus.Error{Code: bus.CodeUnavailable, Op: "check", Reason: cause.Error()}
}
