package devices_test

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"

	"github.com/trunkline/trunkline/bus"
	"github.com/trunkline/trunkline/examples/devices"
	"github.com/trunkline/trunkline/liveness/probe"
	"github.com/trunkline/trunkline/rpc"
	"github.com/trunkline/trunkline/transport/memory"
)

var discard = slog.New(slog.DiscardHandler)

// side is the bus, client and server of one program on a log.
type side struct {
	bus    *bus.Bus
	client *rpc.Client
	server *rpc.Server
}

func newSide(t *testing.T, l *memory.Log) side {
	t.Helper()
	transport, err := memory.New(memory.WithLog(l))
	require.NoError(t, err)
	b, err := bus.New(transport)
	require.NoError(t, err)
	client, err := rpc.NewClient(b)
	require.NoError(t, err)
	server, err := rpc.NewServer(b)
	require.NoError(t, err)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		require.NoError(t, errors.Join(server.Shutdown(ctx), client.Close(), b.Shutdown(ctx)))
	})
	return side{b, client, server}
}

func ready() *probe.Registry {
	reg := probe.New()
	reg.Update("bus", probe.Running, nil)
	return reg
}

func newCore(t *testing.T, l *memory.Log, reg *probe.Registry, cfg devices.CoreConfig) *devices.Core {
	t.Helper()
	s := newSide(t, l)
	cfg.Logger, cfg.CallTimeout = discard, time.Minute // so that no call times out on a slow machine
	core, err := devices.NewCore(s.bus, s.client, s.server, reg, cfg)
	require.NoError(t, err)
	return core
}

// background runs f until the test ends.
func background(t *testing.T, f func(context.Context) error) <-chan error {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	result := make(chan error, 1)
	var wg sync.WaitGroup
	wg.Go(func() { result <- f(ctx) })
	t.Cleanup(func() { cancel(); wg.Wait() })
	return result
}

func newLog(t *testing.T) *memory.Log {
	t.Helper()
	l, err := memory.NewLog()
	require.NoError(t, err)
	return l
}

func await(t *testing.T, done <-chan struct{}, failed <-chan error) {
	t.Helper()
	select {
	case <-done:
	case err := <-failed:
		t.Fatalf("the core ended: %v", err)
	case <-time.After(60 * time.Second):
		t.Fatal("nothing happened within a minute")
	}
}

// The adapter starts before the core and waits for it.
func TestCoreAdoptsEveryDevice(t *testing.T) {
	t.Parallel()
	l := newLog(t)
	a := newSide(t, l)
	adapter, err := devices.NewAdapter(a.bus, a.client, a.server, devices.AdapterConfig{Logger: discard})
	require.NoError(t, err)
	background(t, adapter.Run)

	var mu sync.Mutex
	calls := map[string][]devices.Step{}
	core := newCore(t, l, ready(), devices.CoreConfig{Devices: 40, InFlight: 8, Observe: func(c devices.Call) {
		mu.Lock()
		defer mu.Unlock()
		if c.Err == nil {
			calls[c.Device] = append(calls[c.Device], c.Step)
		}
	}})
	failed := background(t, core.Run)
	await(t, core.Enabled(), failed)

	require.Len(t, calls, 40)
	for device, steps := range calls {
		require.Equal(t, []devices.Step{devices.Adopt, devices.Configure, devices.Enable}, steps)
		require.Equal(t, devices.Enable, adapter.Ledger().State(device))
	}
	s := adapter.Ledger().Summary()
	require.Empty(t, s.Violations)
	require.Equal(t, 40, s.Enabled)
	require.Equal(t, devices.Progress{Wanted: 40, Adopted: 40, Configured: 40, Enabled: 40}, core.Progress())
}

// The core ends if it gets a wrong answer, or an error for a request out of order.
func TestWrongAnswerEndsTheCore(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		answer func(*devices.AdoptRequest) (*devices.Answer, error)
		want   string
	}{
		"another device's answer": {func(*devices.AdoptRequest) (*devices.Answer, error) {
			a := devices.AnswerOf(devices.Adopt, "someone else")
			return &a, nil
		}, "unexpected answer"},
		"out of order": {func(*devices.AdoptRequest) (*devices.Answer, error) {
			return nil, rpc.NewError(codes.FailedPrecondition, errors.New("out of order"))
		}, "out of order"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := newLog(t)
			a := newSide(t, l)
			require.NoError(t, rpc.Handle(a.server, devices.MethodAdopt, func(_ context.Context, r *devices.AdoptRequest) (*devices.Answer, error) {
				return tc.answer(r)
			}))
			require.NoError(t, a.bus.EnsureTopic(t.Context(), bus.TopicSpec{Name: "fake"}))
			require.NoError(t, a.server.Listen("fake"))
			core := newCore(t, l, ready(), devices.CoreConfig{Devices: 3, InFlight: 1})
			failed := background(t, core.Run)
			await(t, core.Started(), failed)
			_, err := rpc.Call[devices.RegisterResponse](t.Context(), a.client, "devices.core", devices.MethodRegister,
				devices.RegisterRequest{Adapter: "fake", Topic: "fake"})
			require.NoError(t, err)
			require.ErrorContains(t, <-failed, tc.want)
			require.Equal(t, 1, core.Progress().Failed)
		})
	}
}

func TestRegisterRequiresNameAndTopic(t *testing.T) {
	t.Parallel()
	l := newLog(t)
	core := newCore(t, l, ready(), devices.CoreConfig{})
	await(t, core.Started(), background(t, core.Run))
	a := newSide(t, l)
	_, err := rpc.Call[devices.RegisterResponse](t.Context(), a.client, "devices.core", devices.MethodRegister, devices.RegisterRequest{})
	require.Equal(t, codes.InvalidArgument, rpc.CodeOf(err))
}

// While the process is not ready, the core makes no call and gRPC returns UNAVAILABLE.
func TestCoreMakesNoCallsWhileNotReady(t *testing.T) {
	t.Parallel()
	l, reg := newLog(t), ready()
	reg.Update("bus", probe.NotReady, errors.New("for a test"))
	core := newCore(t, l, reg, devices.CoreConfig{Devices: 5})
	failed := background(t, core.Run)
	a := newSide(t, l)
	registered := make(chan struct{})
	adapter, err := devices.NewAdapter(a.bus, a.client, a.server, devices.AdapterConfig{Logger: discard,
		Registered: func(string) { close(registered) }})
	require.NoError(t, err)
	background(t, adapter.Run)
	await(t, registered, failed)
	north, err := devices.NewNorthbound("127.0.0.1:0", reg, core)
	require.NoError(t, err)
	served := background(t, north.Serve)
	conn, err := grpc.NewClient("passthrough:///"+north.Addr().String(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	require.NoError(t, err)
	defer conn.Close()

	_, err = devices.FetchProgress(t.Context(), conn)
	require.Equal(t, codes.Unavailable, status.Code(err))
	require.ErrorContains(t, err, "bus is NotReady")
	health, err := healthpb.NewHealthClient(conn).Check(t.Context(), &healthpb.HealthCheckRequest{})
	require.NoError(t, err)
	require.Equal(t, healthpb.HealthCheckResponse_NOT_SERVING, health.GetStatus())
	require.Zero(t, core.Progress().Pending)
	require.Zero(t, core.Progress().Adopted)

	reg.Update("bus", probe.Running, nil)
	await(t, core.Enabled(), failed)
	progress, err := devices.FetchProgress(t.Context(), conn)
	require.NoError(t, err)
	require.Equal(t, devices.Progress{Wanted: 5, Adopted: 5, Configured: 5, Enabled: 5}, progress)
	require.Empty(t, served)
}

func TestNewCoreRejectsInvalidConfig(t *testing.T) {
	t.Parallel()
	s := newSide(t, newLog(t))
	_, err := devices.NewCore(s.bus, s.client, s.server, ready(), devices.CoreConfig{Devices: -1})
	require.ErrorContains(t, err, "at least 1")
	_, err = devices.NewNorthbound("nowhere", ready(), nil)
	require.ErrorContains(t, err, `"nowhere"`)
}
