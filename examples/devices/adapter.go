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

// AdapterConfig configures an Adapter. Each field has a default.
type AdapterConfig struct {
	// Name is the name of the adapter; the default is "adapter".
	Name string
	// Topic is the topic to serve; the default is "devices.adapter". Run creates it if it does
	// not exist.
	Topic string
	// CoreTopic is the topic of the core; the default is "devices.core".
	CoreTopic string
	// Partitions is the number of partitions of a new Topic; the default is 8.
	Partitions int32
	// CallTimeout bounds one attempt to register; the default is 5 s.
	CallTimeout time.Duration
	// Registered is called once, when the core has answered; it may be nil.
	Registered func(core string)
	// Logger is the logger; the default is slog.Default().
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

// Adapter serves the steps of devices. Make it with NewAdapter, and call Run once.
type Adapter struct {
	cfg    AdapterConfig
	bus    *bus.Bus
	client *rpc.Client
	server *rpc.Server
	ledger Ledger
}

// NewAdapter returns an Adapter and registers its methods on server, which must not listen
// yet. The caller owns bus, client and server, and closes them after Run has returned.
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
		return nil, rpc.NewError(codes.Internal, errors.New("devices: the handler was not called by RPC"))
	}
	answer, err := a.ledger.Apply(step, device, info.Key, request)
	if err != nil {
		return nil, rpc.NewError(codes.FailedPrecondition, err)
	}
	return &answer, nil
}

// Ledger returns the record of the adapter's devices.
func (a *Adapter) Ledger() *Ledger { return &a.ledger }

// Run serves until ctx ends, and then returns nil. It registers with the core as soon as
// the core is available. Shutdown of the server waits for running calls.
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

// register repeats the call until the core has answered, because the core may start later.
func (a *Adapter) register(ctx context.Context) error {
	request := RegisterRequest{Adapter: a.cfg.Name, Topic: a.cfg.Topic}
	for {
		answer, err := rpc.Call[RegisterResponse](ctx, a.client, a.cfg.CoreTopic, MethodRegister, request, rpc.Timeout(a.cfg.CallTimeout))
		if err == nil {
			a.cfg.Logger.InfoContext(ctx, "registered with the core", "core", answer.Core)
			a.cfg.Registered(answer.Core)
			return nil
		}
		if !isTemporary(err) {
			return fmt.Errorf("devices: the core at %s rejects this adapter: %w", a.cfg.CoreTopic, err)
		}
		a.cfg.Logger.WarnContext(ctx, "the core has not answered yet: retrying", "error", err)
		if !sleep(ctx, 500*time.Millisecond) {
			return ctx.Err()
		}
	}
}
