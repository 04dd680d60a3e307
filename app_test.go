package trunkline_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc/codes"

	"github.com/trunkline/trunkline"
	"github.com/trunkline/trunkline/bus"
	"github.com/trunkline/trunkline/liveness/probe"
	"github.com/trunkline/trunkline/rpc"
	"github.com/trunkline/trunkline/transport/memory"
)

// newApp returns an App on the log, which the test closes.
func newApp(t *testing.T, memoryLog *memory.Log, change func(*trunkline.Config), opts ...trunkline.Option) *trunkline.App {
	t.Helper()
	cfg := trunkline.DefaultConfig()
	cfg.ProbeAddr, cfg.ShutdownTimeout = "127.0.0.1:0", time.Minute
	if change != nil {
		change(&cfg)
	}
	transport, err := memory.New(memory.WithLog(memoryLog))
	require.NoError(t, err)
	own := []trunkline.Option{trunkline.WithTransport(transport), trunkline.WithLogger(slog.New(slog.DiscardHandler))}
	app, err := trunkline.New(t.Context(), cfg, append(own, opts...)...)
	require.NoError(t, err)
	t.Cleanup(func() { app.Close() }) // Run returns the same error
	return app
}

func newLog(t *testing.T) *memory.Log {
	t.Helper()
	l, err := memory.NewLog()
	require.NoError(t, err)
	return l
}

func readyz(t *testing.T, app *trunkline.App) int {
	t.Helper()
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: time.Minute}
	resp, err := client.Get("http://" + app.Probe.Addr().String() + "/readyz")
	require.NoError(t, err)
	defer resp.Body.Close()
	_, err = io.Copy(io.Discard, resp.Body)
	require.NoError(t, err)
	return resp.StatusCode
}

func awaitReady(t *testing.T, app *trunkline.App, want bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for snap := range app.Registry.Watch(ctx) {
		if snap.Ready == want {
			return
		}
	}
	t.Fatalf("ready did not become %v: %v", want, app.Registry.Snapshot().Err())
}

type question struct{ N int }
type answer struct{ N int }

func TestAppServesUntilItsContextEnds(t *testing.T) {
	t.Parallel()
	log := newLog(t)
	app := newApp(t, log, nil)
	require.NoError(t, rpc.Handle(app.Server, "double", func(_ context.Context, q *question) (*answer, error) {
		return &answer{N: 2 * q.N}, nil
	}))
	serve := app.Serve(bus.TopicSpec{Name: "doubler"})
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	ended := make(chan error, 1)
	var partEnded atomic.Bool
	go func() {
		ended <- app.Run(ctx, serve, func(ctx context.Context) error {
			<-ctx.Done()
			// The bus is still open: App.Run waits for the parts before it closes the bus.
			err := app.Bus.Ping(context.WithoutCancel(ctx))
			partEnded.Store(true)
			return err
		})
	}()
	awaitReady(t, app, true)
	require.Equal(t, http.StatusOK, readyz(t, app))
	got, err := rpc.Call[answer](ctx, app.Client, "doubler", "double", question{N: 21})
	require.NoError(t, err)
	require.Equal(t, 42, got.N)

	log.Disconnect(nil)
	awaitReady(t, app, false)
	require.Equal(t, http.StatusServiceUnavailable, readyz(t, app))
	log.Connect()
	awaitReady(t, app, true)

	stop()
	require.NoError(t, <-ended)
	require.True(t, partEnded.Load())
	require.False(t, app.Registry.Ready())
	_, err = rpc.Call[answer](t.Context(), app.Client, "doubler", "double", question{N: 1})
	require.Equal(t, codes.Unavailable, rpc.CodeOf(err))
	require.Equal(t, bus.CodeClosed, bus.CodeOf(app.Bus.Ping(t.Context())))
}

func TestAppIsNotReadyBeforeCheckTopicsExist(t *testing.T) {
	t.Parallel()
	app := newApp(t, newLog(t), func(c *trunkline.Config) { c.CheckTopics = []string{"orders"} })
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	ended := make(chan error, 1)
	go func() { ended <- app.Run(ctx) }()
	awaitService(t, app, trunkline.CheckService, probe.NotReady)
	require.False(t, app.Registry.Ready())
	require.NoError(t, app.Bus.EnsureTopic(t.Context(), bus.TopicSpec{Name: "orders"}))
	awaitReady(t, app, true)
	stop()
	require.NoError(t, <-ended)
	awaitService(t, app, trunkline.CheckService, probe.Stopped)

	require.Nil(t, newApp(t, newLog(t), nil).Checker, "the Config asks for no check")
}

func awaitService(t *testing.T, app *trunkline.App, name string, want probe.Status) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for snap := range app.Registry.Watch(ctx) {
		if service, ok := snap.Service(name); ok && service.Status == want {
			return
		}
	}
	t.Fatalf("%s did not become %v: %v", name, want, app.Registry.Snapshot().Err())
}

func TestAppShutsDownWhenAPartEnds(t *testing.T) {
	t.Parallel()
	broken := errors.New("broken")
	for name, tc := range map[string]struct {
		part trunkline.Part
		want string
	}{
		"an error":    {func(context.Context) error { return broken }, "broken"},
		"no error":    {func(context.Context) error { return nil }, "ended by itself"},
		"while other": {func(ctx context.Context) error { <-ctx.Done(); return fmt.Errorf("late: %w", broken) }, "late"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			app := newApp(t, newLog(t), nil)
			others := make(chan struct{})
			parts := []trunkline.Part{tc.part, func(ctx context.Context) error { <-ctx.Done(); close(others); return nil }}
			if name == "while other" {
				parts = append(parts, func(context.Context) error { return broken })
			}
			err := app.Run(t.Context(), parts...)
			require.ErrorContains(t, err, tc.want)
			<-others
		})
	}
}

func TestShutdownReportsNotReadyBeforeItEndsTheParts(t *testing.T) {
	t.Parallel()
	app := newApp(t, newLog(t), nil)
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	type observed struct{ app, bus probe.Status }
	var during observed
	err := app.Run(ctx, func(ctx context.Context) error {
		if err := app.Registry.WaitReady(ctx); err != nil {
			return err
		}
		stop()
		<-ctx.Done()
		bound, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		for snap := range app.Registry.Watch(bound) {
			service, _ := snap.Service(trunkline.AppService)
			if during.app = service.Status; during.app == probe.NotReady {
				break
			}
		}
		service, _ := app.Registry.Snapshot().Service(trunkline.BusService)
		during.bus = service.Status
		return nil
	})
	require.NoError(t, err)
	require.Equal(t, observed{probe.NotReady, probe.Running}, during, "the bus is open while a part runs")
	service, _ := app.Registry.Snapshot().Service(trunkline.BusService)
	require.Equal(t, probe.Stopped, service.Status)
}

func TestShutdownTimeoutBoundsAStuckPart(t *testing.T) {
	t.Parallel()
	app := newApp(t, newLog(t), func(c *trunkline.Config) { c.ShutdownTimeout = 200 * time.Millisecond })
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	release, stuck := make(chan struct{}), make(chan struct{})
	began := make(chan struct{})
	go func() { <-began; stop() }()
	err := app.Run(ctx, func(context.Context) error {
		defer close(stuck)
		close(began)
		<-release
		return nil
	})
	require.ErrorIs(t, err, context.DeadlineExceeded)
	require.ErrorContains(t, err, "a part of the program did not end in time")
	close(release)
	<-stuck
}

func TestProbeAddressInUseIsAnError(t *testing.T) {
	t.Parallel()
	app := newApp(t, newLog(t), nil)
	cfg := app.Config
	cfg.ProbeAddr = app.Probe.Addr().String()
	_, _, err := trunkline.NewProbeServer(cfg, app.Registry, slog.New(slog.DiscardHandler))
	require.ErrorContains(t, err, cfg.ProbeAddr)
}
