package devices

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/trunkline/trunkline/bus"
	"github.com/trunkline/trunkline/rpc"
)

// AdapterConfig is what an adapter needs to be told. Empty fields have defaults.
type AdapterConfig struct {
	// Name is the adapter's name: "adapter".
	Name string
	// Topic is where it serves: "devices.adapter". It is created when it is missing.
	Topic string
	// CoreTopic is where the core serves: "devices.core".
	CoreTopic string
	// Partitions of Topic, when it is created: 8.
	Partitions int32
	// CallTimeout bounds one try of registering: 5 s.
	CallTimeout time.Duration
	// Registered is told once that the core has answered; it may be nil.
	Registered func(core string)
	// Logger says what goes on; slog.Default when nil.
	Logger *slog.Logger
}

func (c AdapterConfig) withDefaults() AdapterConfig {
	c.Name = orElse(c.Name, "adapter")
	c.Topic = orElse(c.Topic, "devices.adapter")
	c.CoreTopic = orElse(c.CoreTopic, "devices.core")
	c.Partitions = orElse(c.Partitions, 8)
	c.CallTimeout = orElse(c.CallTimeout, 5*time.Second)
	if c.Registered == nil {
		c.Registered = func(string) {}
	}
	c.Logger = orElse(c.Logger, slog.Default())
	return c
}

// Adapter serves the devices' steps. Make it, then Run it once.
type Adapter struct {
	cfg    AdapterConfig
	bus    *bus.Bus
	client *rpc.Client
	server *rpc.Server
	ledger Ledger
}

// NewAdapter registers the adapter's methods on server, which must not be started yet.
// Bus, client and server stay the caller's, to be closed after Run has returned.
func NewAdapter(b *bus.Bus, client *rpc.Client, server *rpc.Server, cfg AdapterConfig) (*Adapter, error) {
	a := &Adapter{cfg: cfg.withDefaults(), bus: b, client: client, server: server}
	if err := server.Register(a.service()); err != nil {
		return nil, err
	}
	return a, nil
}

func (a *Adapter) service() rpc.Service {
	return rpc.Service{Name: a.cfg.Name, Description: "brings devices into service", Methods: []rpc.Method{
		rpc.NewMethod(MethodAdopt, func(ctx context.Context, r *AdoptRequest) (*Answer, error) {
			return a.apply(ctx, Adopt, r.Device, *r)
		}),
		rpc.NewMethod(MethodConfigure, func(ctx context.Context, r *ConfigureRequest) (*Answer, error) {
			return a.apply(ctx, Configure, r.Device, *r)
		}),
		rpc.NewMethod(MethodEnable, func(ctx context.Context, r *wrapperspb.StringValue) (*Answer, error) {
			return a.apply(ctx, Enable, r.GetValue(), r)
		}),
	}}
}

func (a *Adapter) apply(ctx context.Context, step Step, device string, request any) (*Answer, error) {
	info, ok := rpc.FromContext(ctx)
	if !ok {
		return nil, rpc.NewError(codes.Internal, errors.New("devices: not called by RPC"))
	}
	answer, err := a.ledger.Apply(step, device, info.Key, request)
	if err != nil {
		return nil, rpc.NewError(codes.FailedPrecondition, err)
	}
	return &answer, nil
}

// Ledger returns what the adapter remembers.
func (a *Adapter) Ledger() *Ledger { return &a.ledger }

// Run serves, and registers with the core as soon as that can be reached, until ctx
// ends; then it returns nil. Calls that are being handled at that time are waited
// for by the server's Shutdown.
func (a *Adapter) Run(ctx context.Context) error {
	served, err := serve(ctx, a.bus, a.server, bus.TopicSpec{Name: a.cfg.Topic, Partitions: a.cfg.Partitions})
	if err != nil {
		return orNil(ctx, err)
	}
	if err := a.register(ctx); err != nil {
		return orNil(ctx, err)
	}
	select {
	case <-ctx.Done():
		return nil
	case err := <-served:
		return ended(ctx, a.cfg.Topic, err)
	}
}

// register tries until the core has answered: it may start later, or be cut off.
func (a *Adapter) register(ctx context.Context) error {
	request := RegisterRequest{Adapter: a.cfg.Name, Topic: a.cfg.Topic}
	for {
		answer, err := rpc.Call[RegisterResponse](ctx, a.client, a.cfg.CoreTopic, MethodRegister, request, rpc.Timeout(a.cfg.CallTimeout))
		if err == nil {
			a.cfg.Logger.InfoContext(ctx, "registered with the core", "core", answer.Core)
			a.cfg.Registered(answer.Core)
			return nil
		}
		if !worthRepeating(err) {
			return fmt.Errorf("devices: the core at %s refuses this adapter: %w", a.cfg.CoreTopic, err)
		}
		a.cfg.Logger.WarnContext(ctx, "the core does not answer yet", "error", err)
		if !sleep(ctx, 500*time.Millisecond) {
			return ctx.Err()
		}
	}
}
