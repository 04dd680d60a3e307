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

// CoreConfig configures a Core. Each field has a default.
type CoreConfig struct {
	// Name is the name of the core; the default is "core".
	Name string
	// Topic is the topic to serve; the default is "devices.core". Run creates it if it does
	// not exist.
	Topic string
	// Prefix is the prefix of the ids of the devices; the default is "device-". A core that is
	// restarted needs another prefix, because the adapter has already adopted the devices with
	// the old prefix.
	Prefix string
	// Devices is the number of devices to adopt; the default is 1000.
	Devices int
	// InFlight is the number of concurrent calls; the default is 64.
	InFlight int
	// CallTimeout bounds each call; the default is 5 s.
	CallTimeout time.Duration
	// Registered is called for the adapter that registers; it may be nil.
	Registered func(adapter string)
	// Observe is called after each call, before the next call for the same device. It is
	// called concurrently, and may be nil.
	Observe func(Call)
	// Logger is the logger; the default is slog.Default().
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

// Call is a call of the core that has ended.
type Call struct {
	Device string
	Step   Step
	// Attempt is 1 for the first call of a step.
	Attempt int
	Began   time.Time
	Took    time.Duration
	// Err is nil if the answer was the expected one.
	Err error
}

// Progress is a snapshot of the core's progress.
type Progress struct {
	// Wanted is the number of devices to enable.
	Wanted int `json:"wanted"`
	// Adopted, Configured and Enabled count the devices that have completed the step of that
	// name.
	Adopted    int `json:"adopted"`
	Configured int `json:"configured"`
	Enabled    int `json:"enabled"`
	// Failed counts the calls that ended with an error. The core repeats each of them.
	Failed int `json:"failed"`
	// Pending counts the calls that have not ended.
	Pending int `json:"pending"`
}

// Core adopts devices. Make it with NewCore, and call Run once.
type Core struct {
	cfg    CoreConfig
	bus    *bus.Bus
	client *rpc.Client
	server *rpc.Server
	reg    *probe.Registry

	adapters chan RegisterRequest // holds the first adapter that registers
	started  chan struct{}        // closed when the server is ready
	enabled  chan struct{}        // closed when all devices are enabled

	steps   [StepsPerDevice + 1]atomic.Int64
	failed  atomic.Int64
	pending atomic.Int64
}

// NewCore returns a Core and registers its method on server, which must not listen yet. The
// core starts no call while reg is not ready. The caller owns bus, client and server, and
// closes them after Run has returned.
func NewCore(b *bus.Bus, client *rpc.Client, server *rpc.Server, reg *probe.Registry, cfg CoreConfig) (*Core, error) {
	c := &Core{cfg: cfg.withDefaults(), bus: b, client: client, server: server, reg: reg,
		adapters: make(chan RegisterRequest, 1), started: make(chan struct{}), enabled: make(chan struct{})}
	if c.cfg.Devices < 1 || c.cfg.InFlight < 1 {
		return nil, fmt.Errorf("devices: NewCore: Devices and InFlight must be at least 1, got %d and %d", c.cfg.Devices, c.cfg.InFlight)
	}
	service := rpc.Service{Name: c.cfg.Name, Description: "adopts devices through an adapter",
		Methods: []rpc.Method{rpc.NewMethod(MethodRegister, c.register)}}
	if err := server.Register(service); err != nil {
		return nil, err
	}
	return c, nil
}

// register is idempotent, because an adapter that missed the answer repeats the call.
func (c *Core) register(ctx context.Context, r *RegisterRequest) (*RegisterResponse, error) {
	if r.Adapter == "" || r.Topic == "" {
		return nil, rpc.NewError(codes.InvalidArgument, errors.New("devices: the name and the topic of an adapter must not be empty"))
	}
	select {
	case c.adapters <- *r:
		c.cfg.Logger.InfoContext(ctx, "adapter registered", "adapter", r.Adapter, "topic", r.Topic)
		c.cfg.Registered(r.Adapter)
	default:
	}
	return &RegisterResponse{Core: c.cfg.Name}, nil
}

// Started returns a channel that is closed when the core serves its topic.
func (c *Core) Started() <-chan struct{} { return c.started }

// Enabled returns a channel that is closed when every device is enabled.
func (c *Core) Enabled() <-chan struct{} { return c.enabled }

// Progress returns the present progress.
func (c *Core) Progress() Progress {
	return Progress{Wanted: c.cfg.Devices,
		Adopted: int(c.steps[Adopt].Load()), Configured: int(c.steps[Configure].Load()), Enabled: int(c.steps[Enable].Load()),
		Failed: int(c.failed.Load()), Pending: int(c.pending.Load())}
}

// Run serves, waits for an adapter, takes every device through its steps, and continues to
// serve until ctx ends; then it returns nil. It returns an error for an unexpected answer,
// and for a call that fails permanently.
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
	c.cfg.Logger.InfoContext(ctx, "every device is enabled", "devices", c.cfg.Devices, "failed_calls", c.failed.Load())
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

// adopt takes one device through its steps.
func (c *Core) adopt(ctx context.Context, topic, device string) error {
	for step := Adopt; step <= Enable; step++ {
		if err := c.do(ctx, topic, device, step); err != nil {
			return err
		}
		c.steps[step].Add(1)
	}
	return nil
}

// do repeats the call of a step until it succeeds.
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
			err = fmt.Errorf("devices: %s of device %q: unexpected answer %+v, expected %+v", step, device, *answer, want)
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
		case !isTemporary(err):
			return err
		}
		c.cfg.Logger.DebugContext(ctx, "repeating a call", "device", device, "step", step.String(), "attempt", attempt, "error", err)
		if !sleep(ctx, 50*time.Millisecond) {
			return context.Cause(ctx)
		}
	}
}
