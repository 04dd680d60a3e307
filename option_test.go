package trunkline_test

import (
	"context"
	"log/slog"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/grpc/codes"

	"github.com/trunkline/trunkline"
	"github.com/trunkline/trunkline/bus"
	"github.com/trunkline/trunkline/bus/hook"
	"github.com/trunkline/trunkline/liveness"
	"github.com/trunkline/trunkline/liveness/probe"
	"github.com/trunkline/trunkline/rpc"
	"github.com/trunkline/trunkline/rpc/discovery"
	"github.com/trunkline/trunkline/transport/memory"
)

// published counts successful publications.
type published struct{ n atomic.Int64 }

func (p *published) OnPublish(e hook.PublishEvent) {
	if e.Outcome.Err == nil {
		p.n.Add(1)
	}
}

func TestOptionsReachTheirParts(t *testing.T) {
	t.Parallel()
	hooks := &published{}
	var calls, requests atomic.Int64
	counting := func(n *atomic.Int64) rpc.Option {
		return rpc.WithInterceptors(func(next rpc.Func) rpc.Func {
			return func(ctx context.Context, req *rpc.Request) (*rpc.Response, error) {
				n.Add(1)
				return next(ctx, req)
			}
		})
	}
	app := newApp(t, newLog(t), func(c *trunkline.Config) { c.CheckMinBrokers = 1 },
		trunkline.WithBusOptions(bus.WithHooks(hooks)),
		trunkline.WithRPCOptions(counting(&calls)),
		trunkline.WithServerOptions(counting(&requests), rpc.WithInstance("doubler-0")),
		trunkline.WithClientOptions(rpc.WithDefaultTimeout(50*time.Second)),
		trunkline.WithMonitorOptions(liveness.WithHistory(3)),
		trunkline.WithCheckerOptions(liveness.WithCheckInterval(time.Hour)),
		trunkline.WithRegistryOptions(probe.WithHealthyRule(func([]probe.Service) bool { return true })),
		trunkline.WithProbeOptions(probe.WithCloseTimeout(time.Minute)),
	)
	require.NoError(t, rpc.Handle(app.Server, "double", func(_ context.Context, q *question) (*answer, error) { return &answer{2 * q.N}, nil }))
	ended := runApp(t, app, app.Serve(bus.TopicSpec{Name: "doubler"}))
	awaitReady(t, app, true)
	_, err := rpc.Call[answer](t.Context(), app.Client, "doubler", "double", question{N: 21})
	require.NoError(t, err)
	require.EqualValues(t, 2, calls.Load(), "WithRPCOptions reaches client and server")
	require.EqualValues(t, 1, requests.Load(), "WithServerOptions reaches the server")
	require.Equal(t, "doubler-0", app.Server.ID())
	require.NotZero(t, hooks.n.Load(), "WithBusOptions reaches the bus")
	require.NoError(t, app.Close())
	require.NoError(t, awaitEnd(t, ended))
}

func TestNewRejectsInvalidOptions(t *testing.T) {
	t.Parallel()
	cfg := validConfig()
	cfg.ProbeAddr = "127.0.0.1:0"
	for name, opt := range map[string]trunkline.Option{
		"WithLogger":    trunkline.WithLogger(nil),
		"WithTransport": trunkline.WithTransport(nil),
		"close time":    trunkline.WithBusOptions(bus.WithCloseTimeout(0)),
		"WithInstance":  trunkline.WithServerOptions(rpc.WithInstance("")),
		"WithName":      trunkline.WithClientOptions(rpc.WithName("")),
	} {
		_, err := trunkline.New(t.Context(), cfg, trunkline.WithLogger(slog.New(slog.DiscardHandler)), opt)
		require.ErrorContains(t, err, name)
	}
	_, err := trunkline.New(t.Context(), trunkline.DefaultConfig())
	require.ErrorContains(t, err, "BusURL is missing")
}

// New closes the transport if it fails.
func TestNewClosesItsTransportIfItFails(t *testing.T) {
	t.Parallel()
	transport, err := memory.New()
	require.NoError(t, err)
	cfg := validConfig()
	cfg.LiveInterval = 0
	_, err = trunkline.New(t.Context(), cfg, trunkline.WithTransport(transport))
	require.ErrorContains(t, err, "LiveInterval")
	require.Equal(t, bus.CodeClosed, bus.CodeOf(transport.Ping(t.Context())))
}

func TestServersAreDiscoverableUnlessTurnedOff(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		opts []trunkline.Option
		want int
	}{
		"by default": {nil, 1},
		"turned off": {[]trunkline.Option{trunkline.WithoutDiscovery()}, 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			app := newApp(t, newLog(t), nil, tc.opts...)
			require.NoError(t, app.Server.Register(rpc.Service{Name: "doubler", Methods: []rpc.Method{
				rpc.NewMethod("double", func(_ context.Context, q *question) (*answer, error) { return &answer{2 * q.N}, nil })}}))
			ended := runApp(t, app, app.Serve(bus.TopicSpec{Name: "doubler"}))
			awaitReady(t, app, true)
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			var found []rpc.ServiceInfo
			for tries := 0; tries < 2 || tc.want > 0 && ctx.Err() == nil; tries++ { // discovery starts in the background
				infos, err := discovery.Info(ctx, app.Client, discovery.Filter{Timeout: 300 * time.Millisecond})
				if ctx.Err() == nil && rpc.CodeOf(err) != codes.OK && rpc.CodeOf(err) != codes.Unavailable && rpc.CodeOf(err) != codes.NotFound && rpc.CodeOf(err) != codes.Unimplemented {
					require.NoError(t, err)
				}
				if found = infos; len(found) > 0 {
					break
				}
				select { // an error may come at once
				case <-time.After(10 * time.Millisecond):
				case <-ctx.Done():
				}
			}
			assert.Len(t, found, tc.want)
			require.NoError(t, app.Close())
			require.NoError(t, awaitEnd(t, ended))
		})
	}
}
