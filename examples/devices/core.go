package devices

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc/codes"

	"github.com/trunkline/trunkline/bus"
	"github.com/trunkline/trunkline/liveness/probe"
	"github.com/trunkline/trunkline/rpc"
)

// CoreConfig is what a core needs to be told. Empty fields have defaults.
type CoreConfig struct {
	// Name is the core's name: "core".
	Name string
	// Topic is where it serves: "devices.core". It is created when it is missing.
	Topic string
	// Prefix begins the devices' ids: "device-". A core that is started again uses
	// another one, or the adapter sees its devices adopted twice.
	Prefix string
	// Devices is how many devices are adopted: 1000.
	Devices int
	// InFlight is how many calls are made at once: 64.
	InFlight int
	// CallTimeout bounds each call: 5 s.
	CallTimeout time.Duration
	// Registered is told of each adapter that registers; it may be nil.
	Registered func(adapter string)
	// Observe is told of every call that has ended, before the device's next one; it is
	// called from many goroutines and may be nil.
	Observe func(Call)
	// Logger says what goes on; slog.Default when nil.
	Logger *slog.Logger
}

func (c CoreConfig) withDefaults() CoreConfig {
	c.Name = orElse(c.Name, "core")
	c.Topic = orElse(c.Topic, "devices.core")
	c.Prefix = orElse(c.Prefix, "device-")
	c.Devices = orElse(c.Devices, 1000)
	c.InFlight = orElse(c.InFlight, 64)
	c.CallTimeout = orElse(c.CallTimeout, 5*time.Second)
	if c.Registered == nil {
		c.Registered = func(string) {}
	}
	if c.Observe == nil {
		c.Observe = func(Call) {}
	}
	c.Logger = orElse(c.Logger, slog.Default())
	return c
}

// Call is one call of the core that has ended.
type Call struct {
	Device string
	Step   Step
	// Attempt is 1 for the step's first call.
	Attempt int
	Began   time.Time
	Took    time.Duration
	// Err is nil when the right answer came.
	Err error
}

// Progress is how far the core has got, at one moment.
type Progress struct {
	// Wanted is how many devices are to be enabled.
	Wanted int `json:"wanted"`
	// Adopted, Configured and Enabled count the devices that have got at least so far.
	Adopted    int `json:"adopted"`
	Configured int `json:"configured"`
	Enabled    int `json:"enabled"`
	// Failed counts the calls that ended with an error; each was made again.
	Failed int `json:"failed"`
	// Pending counts the calls under way.
	Pending int `json:"pending"`
}

// Core adopts devices. Make it, then Run it once.
type Core struct {
	cfg    CoreConfig
	bus    *bus.Bus
	client *rpc.Client
	server *rpc.Server
	reg    *probe.Registry

	adapters chan RegisterRequest // of one: the first that registers
	started  chan struct{}        // closed when requests are read
	enabled  chan struct{}        // closed when every device is enabled

	steps   [StepsPerDevice + 1]atomic.Int64
	failed  atomic.Int64
	pending atomic.Int64
}

// NewCore registers the core's method on server, which must not be started yet. While
// reg says that the process is not ready no new call is begun. Bus, client and server
// stay the caller's, to be closed after Run has returned.
func NewCore(b *bus.Bus, client *rpc.Client, server *rpc.Server, reg *probe.Registry, cfg CoreConfig) (*Core, error) {
	c := &Core{cfg: cfg.withDefaults(), bus: b, client: client, server: server, reg: reg,
		adapters: make(chan RegisterRequest, 1), started: make(chan struct{}), enabled: make(chan struct{})}
	if c.cfg.Devices < 1 || c.cfg.InFlight < 1 {
		return nil, fmt.Errorf("devices: %d devices with %d calls in flight: give at least 1 of each", c.cfg.Devices, c.cfg.InFlight)
	}
	service := rpc.Service{Name: c.cfg.Name, Description: "adopts devices through an adapter",
		Methods: []rpc.Method{rpc.NewMethod(MethodRegister, c.register)}}
	if err := server.Register(service); err != nil {
		return nil, err
	}
	return c, nil
}

// register is idempotent: an adapter that did not see the answer asks again.
func (c *Core) register(ctx context.Context, r *RegisterRequest) (*RegisterResponse, error) {
	if r.Adapter == "" || r.Topic == "" {
		return nil, rpc.NewError(codes.InvalidArgument, errors.New("devices: an adapter needs a name and a topic"))
	}
	select {
	case c.adapters <- *r:
		c.cfg.Logger.InfoContext(ctx, "an adapter has registered", "adapter", r.Adapter, "topic", r.Topic)
		c.cfg.Registered(r.Adapter)
	default:
	}
	return &RegisterResponse{Core: c.cfg.Name}, nil
}

// Started is closed when the core reads the adapters' requests.
func (c *Core) Started() <-chan struct{} { return c.started }

// Enabled is closed when every device is enabled.
func (c *Core) Enabled() <-chan struct{} { return c.enabled }

// Progress returns the present figures.
func (c *Core) Progress() Progress {
	return Progress{Wanted: c.cfg.Devices,
		Adopted: int(c.steps[Adopt].Load()), Configured: int(c.steps[Configure].Load()), Enabled: int(c.steps[Enable].Load()),
		Failed: int(c.failed.Load()), Pending: int(c.pending.Load())}
}

// Run serves, waits for an adapter, takes every device through its steps, and goes on
// serving until ctx ends; then it returns nil. An answer that is wrong, or an error
// that calling again can't mend, ends it with that error.
func (c *Core) Run(ctx context.Context) error {
	served, err := serve(ctx, c.bus, c.server, bus.TopicSpec{Name: c.cfg.Topic, Partitions: 1})
	if err != nil {
		return orNil(ctx, err)
	}
	close(c.started)
	select {
	case adapter := <-c.adapters:
		if err := c.adoptAll(ctx, adapter.Topic); err != nil {
			return orNil(ctx, err)
		}
	case <-ctx.Done():
		return nil
	case err := <-served:
		return ended(ctx, c.cfg.Topic, err)
	}
	close(c.enabled)
	c.cfg.Logger.InfoContext(ctx, "every device is enabled", "devices", c.cfg.Devices, "failed calls", c.failed.Load())
	select {
	case <-ctx.Done():
		return nil
	case err := <-served:
		return ended(ctx, c.cfg.Topic, err)
	}
}

func (c *Core) adoptAll(ctx context.Context, topic string) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var next atomic.Int64
	var workers sync.WaitGroup
	for range min(c.cfg.InFlight, c.cfg.Devices) {
		workers.Go(func() {
			for ctx.Err() == nil {
				n := int(next.Add(1))
				if n > c.cfg.Devices {
					return
				}
				if err := c.adopt(ctx, topic, fmt.Sprintf("%s%05d", c.cfg.Prefix, n)); err != nil {
					cancel(err)
				}
			}
		})
	}
	workers.Wait()
	return context.Cause(ctx)
}

// adopt takes one device through its steps, one call after the other.
func (c *Core) adopt(ctx context.Context, topic, device string) error {
	for step := Adopt; step <= Enable; step++ {
		if err := c.do(ctx, topic, device, step); err != nil {
			return err
		}
		c.steps[step].Add(1)
	}
	return nil
}

// do makes a step's call until it succeeds.
func (c *Core) do(ctx context.Context, topic, device string, step Step) error {
	for attempt := 1; ; attempt++ {
		if err := c.reg.WaitReady(ctx); err != nil {
			return err
		}
		began := time.Now()
		c.pending.Add(1)
		answer, err := rpc.Call[Answer](ctx, c.client, topic, step.Method(), RequestOf(step, device),
			rpc.Key(device), rpc.Timeout(c.cfg.CallTimeout))
		c.pending.Add(-1)
		if want := AnswerOf(step, device); err == nil && *answer != want {
			err = fmt.Errorf("devices: %s of device %q was answered %+v, not %+v", step, device, *answer, want)
		}
		if err != nil && ctx.Err() == nil {
			c.failed.Add(1)
		}
		c.cfg.Observe(Call{Device: device, Step: step, Attempt: attempt, Began: began, Took: time.Since(began), Err: err})
		switch {
		case err == nil:
			return nil
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case !worthRepeating(err):
			return err
		}
		c.cfg.Logger.DebugContext(ctx, "a call is made again", "device", device, "step", step.String(), "attempt", attempt, "error", err)
		if !sleep(ctx, 50*time.Millisecond) {
			return context.Cause(ctx)
		}
	}
}
