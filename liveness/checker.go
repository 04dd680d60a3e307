package liveness

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/trunkline/trunkline/bus"
	"github.com/trunkline/trunkline/bus/driver"
	"github.com/trunkline/trunkline/internal/seam"
	"github.com/trunkline/trunkline/liveness/probe"
)

// Checker checks every broker, and the topics that a program needs, at an interval. It
// keeps one service of a probe registry up to date with the result. The service is Running
// while everything that the [CheckSpec] requires works, and NotReady otherwise. If the
// check passes with a warning, for example because one broker of three does not answer,
// the service is Running and the warning is its cause.
//
// Use a Checker in addition to a [Monitor]. The Monitor detects the loss of the bus sooner,
// but it does not check single brokers and topics. If the transport has no brokers to
// check, the service is Running, and its cause says so. All methods are safe for concurrent
// use.
type Checker struct {
	bus  *bus.Bus
	reg  *probe.Registry
	spec CheckSpec
	cfg  checkerConfig

	ctx  context.Context // ends with Shutdown
	stop context.CancelFunc
	done chan struct{} // closed when the checker has ended

	mu    sync.Mutex
	begun bool // Run was called, or Shutdown was called first

	last atomic.Pointer[Check] // nil before the first
}

// CheckSpec says what a checker checks, and what it requires. The zero CheckSpec requires
// that one broker answers.
type CheckSpec = driver.CheckSpec

// Check is the result of one check.
type Check struct {
	driver.Health
	// At is when the check ended.
	At time.Time
	// Duration is how long the check took.
	Duration time.Duration
	// Skipped says why nothing was checked, with CodeUnsupported if the transport has no
	// brokers to check. It is nil if the check was made.
	Skipped error
}

// AttachChecker starts a checker of the bus, which reports to reg. The checker runs on a
// goroutine of its own until it is closed, or until a check finds the bus closed.
//
// It does not wait for the broker: the service is Prepared until the first check has
// ended. /detailz shows the last result. AttachChecker returns an error if b or reg is
// nil, or if spec or an option is invalid.
func AttachChecker(b *bus.Bus, reg *probe.Registry, spec CheckSpec, opts ...CheckerOption) (*Checker, error) {
	c, err := NewChecker(b, reg, spec, opts...)
	if err != nil {
		return nil, err
	}
	if err := c.begin(); err != nil {
		return nil, err
	}
	go c.run(context.Background())
	return c, nil
}

// NewChecker is AttachChecker for a program that runs the checker itself, with
// [Checker.Run]. The service is Preparing until then. A checker that is not run must be
// closed.
func NewChecker(b *bus.Bus, reg *probe.Registry, spec CheckSpec, opts ...CheckerOption) (*Checker, error) {
	switch {
	case b == nil:
		return nil, invalid("the bus is nil")
	case reg == nil:
		return nil, invalid("the registry is nil: make one with probe.New")
	case spec.MinBrokers < 0 || spec.MinInSync < 0 || spec.BrokerTimeout < 0:
		return nil, invalid("a bound of the check is negative")
	}
	cfg, err := newCheckerConfig(opts)
	if err != nil {
		return nil, err
	}
	if cfg.logger == nil {
		cfg.logger = seam.Of(b).Logger()
	}
	c := &Checker{bus: b, reg: reg, spec: spec, cfg: cfg, done: make(chan struct{})}
	c.ctx, c.stop = context.WithCancel(context.Background())
	reg.Register(c.cfg.service, probe.WithDetails(c.details))
	reg.Update(c.cfg.service, probe.Preparing, nil)
	return c, nil
}

// ServiceName returns the name of the service in the registry.
func (c *Checker) ServiceName() string { return c.cfg.service }

// Last returns the result of the last check, and false before the first check has ended.
func (c *Checker) Last() (Check, bool) {
	last := c.last.Load()
	if last == nil {
		return Check{}, false
	}
	return *last, true
}

// Run checks at once, and then at the interval, until ctx ends, the checker is closed, or
// the bus is closed. It then returns nil; the service is Stopped and the last check has
// ended. A checker runs once: Run returns an error with CodeAlreadyExists if the checker
// was started before, and with CodeClosed if it was closed.
func (c *Checker) Run(ctx context.Context) error {
	if err := c.begin(); err != nil {
		return err
	}
	c.run(ctx)
	return nil
}

// Shutdown stops the checker. It makes the service Stopped, cancels the check under way
// and waits until the check has ended. If ctx ends first, Shutdown returns an error. It is
// idempotent, and later calls wait, too.
func (c *Checker) Shutdown(ctx context.Context) error {
	c.stop()
	if c.begin() == nil { // it was never run
		c.reg.Update(c.cfg.service, probe.Stopped, nil)
		close(c.done)
		return nil
	}
	select {
	case <-c.done:
		return nil
	case <-ctx.Done():
		return &bus.Error{Code: bus.CodeOf(ctx.Err()), Op: "stop the checker of " + c.cfg.service, Reason: "the check under way has not ended", Err: ctx.Err()}
	}
}

// Close is [Checker.Shutdown] with a time-out of 5 s.
func (c *Checker) Close() error {
	ctx, cancel := context.WithTimeout(context.Background(), closeTimeout)
	defer cancel()
	return c.Shutdown(ctx)
}

// Done returns a channel that is closed when the checker has ended.
func (c *Checker) Done() <-chan struct{} { return c.done }

func (c *Checker) begin() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.begun {
		return runsOnce("checker", c.cfg.service, c.ctx.Err() != nil)
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
		if ctx.Err() != nil || bus.CodeOf(found.Skipped) == bus.CodeClosed {
			return
		}
		before := c.last.Swap(&found)
		status, cause := found.verdict()
		c.reg.Update(c.cfg.service, status, cause)
		c.log(before, &found)
		pause := c.cfg.interval
		if found.Err != nil {
			pause = min(pause, c.cfg.retry)
		}
		timer := time.NewTimer(pause)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return
		}
	}
}

// check makes one check. It takes at most 2.5 times the broker time-out: the transport
// first asks the configured brokers, and then the brokers that only the metadata names.
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
			found.Health = driver.Health{Err: &bus.Error{Code: bus.CodeInternal, Op: "check", Reason: fmt.Sprintf("the transport panicked: %v", p)}}
		}
		found.At = time.Now()
		found.Duration = found.At.Sub(began)
	}()
	found.Health, found.Skipped = c.bus.Check(ctx, c.spec)
	return found
}

// verdict returns the status of the service, and its cause.
func (c *Check) verdict() (probe.Status, error) {
	switch {
	case c.Skipped != nil:
		return probe.Running, c.Skipped
	case c.Err != nil:
		return probe.NotReady, c.Err
	case c.Warning != "":
		return probe.Running, errors.New("warning: " + c.Warning)
	default:
		return probe.Running, nil
	}
}

// log logs a line if the check failed after it had passed, passed after it had failed, or if
// a warning has appeared or disappeared. before is the previous result, and nil for the
// first check.
func (c *Checker) log(before, now *Check) {
	if before == nil {
		before = &Check{}
	}
	logger := c.cfg.logger.With("service", c.cfg.service)
	switch {
	case now.Err != nil && before.Err == nil:
		logger.Warn("the check of brokers and topics failed", "cause", now.Err)
	case now.Err == nil && now.Warning != "" && before.Warning == "":
		logger.Warn("the check of brokers and topics passed with a warning", "warning", now.Warning)
	case now.Err == nil && before.Err != nil:
		logger.Info("the check of brokers and topics passes again")
	case now.Err == nil && now.Warning == "" && before.Warning != "":
		logger.Info("the check of brokers and topics passes without a warning again")
	}
}
