package trunkline_test

import (
	"context"
	"errors"
	"net"
	"net/http"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/trunkline/trunkline"
	"github.com/trunkline/trunkline/bus"
	"github.com/trunkline/trunkline/bus/consumer"
	"github.com/trunkline/trunkline/liveness/probe"
	"github.com/trunkline/trunkline/rpc"
)

// untilDone is a part that does nothing until its context ends.
func untilDone(ctx context.Context) error { <-ctx.Done(); return nil }

// runApp runs the App in the background. The channel gets the result of Run.
func runApp(t *testing.T, app *trunkline.App, parts ...trunkline.Part) <-chan error {
	t.Helper()
	ended := make(chan error, 1)
	go func() { ended <- app.Run(context.Background(), parts...) }()
	t.Cleanup(func() { app.Close() }) // Run returns the same error
	return ended
}

func awaitEnd(t *testing.T, ended <-chan error) error {
	t.Helper()
	select {
	case err := <-ended:
		return err
	case <-time.After(time.Minute):
		t.Fatal("Run did not return within a minute")
		return nil
	}
}

func TestShutdownEndsRun(t *testing.T) {
	t.Parallel()
	app := newApp(t, newLog(t), nil)
	began := make(chan struct{})
	ended := runApp(t, app, func(ctx context.Context) error { close(began); return untilDone(ctx) })
	<-began // another test covers Shutdown before Run
	awaitReady(t, app, true)
	require.NoError(t, app.Shutdown(t.Context()))
	require.NoError(t, awaitEnd(t, ended))
	require.Equal(t, bus.CodeClosed, bus.CodeOf(app.Bus.Ping(t.Context())))
	require.NoError(t, app.Close(), "Close after Shutdown returns the result of Shutdown")
	require.ErrorContains(t, app.Run(t.Context()), "run or closed before")
}

func TestShutdownIsBoundedByItsContext(t *testing.T) {
	t.Parallel()
	app := newApp(t, newLog(t), nil) // its ShutdownTimeout is a minute
	began, release := make(chan struct{}), make(chan struct{})
	ended := runApp(t, app, func(context.Context) error { close(began); <-release; return nil })
	<-began
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	require.ErrorIs(t, app.Shutdown(ctx), context.DeadlineExceeded)
	require.ErrorContains(t, awaitEnd(t, ended), "a part of the program did not end in time")
	close(release)
}

func TestCloseWithoutRunClosesEveryPart(t *testing.T) {
	t.Parallel()
	app := newApp(t, newLog(t), nil)
	require.NoError(t, app.Add("worker", untilDone))
	addr := app.Probe.Addr().String()
	require.NoError(t, app.Close())
	require.Equal(t, bus.CodeClosed, bus.CodeOf(app.Bus.Ping(t.Context())))
	awaitService(t, app, "worker", probe.Stopped)
	l, err := net.Listen("tcp", addr)
	require.NoError(t, err, "the address of the probes is free")
	require.NoError(t, l.Close())
}

func TestAddedPartHasAServiceInTheRegistry(t *testing.T) {
	t.Parallel()
	app := newApp(t, newLog(t), nil)
	broken, fail := errors.New("broken"), make(chan struct{})
	require.NoError(t, app.Add("worker", func(ctx context.Context) error {
		select {
		case <-fail:
			return broken
		case <-ctx.Done():
			return nil
		}
	}))
	require.NoError(t, app.Add("other", untilDone))
	awaitService(t, app, "worker", probe.Preparing)
	ended := runApp(t, app)
	awaitService(t, app, "worker", probe.Running)
	require.ErrorContains(t, app.Add("late", untilDone), "before Run")
	close(fail)
	err := awaitEnd(t, ended)
	require.ErrorIs(t, err, broken)
	require.ErrorContains(t, err, `part "worker"`)
	awaitService(t, app, "worker", probe.Failed)
	awaitService(t, app, "other", probe.Stopped)
}

func TestRunReturnsTheErrorsOfAdd(t *testing.T) {
	t.Parallel()
	for name, add := range map[string]func(app *trunkline.App) error{
		"the name must not be empty": func(app *trunkline.App) error { return app.Add("", untilDone) },
		"the App itself":             func(app *trunkline.App) error { return app.Add(trunkline.BusService, untilDone) },
		"the part must not be nil":   func(app *trunkline.App) error { return app.Add("worker", nil) },
		"another part already has this name": func(app *trunkline.App) error {
			return errors.Join(app.Add("worker", untilDone), app.Add("worker", untilDone))
		},
	} {
		app := newApp(t, newLog(t), nil)
		require.ErrorContains(t, add(app), name)
		require.ErrorContains(t, app.Run(t.Context()), name)
		require.NoError(t, app.Close())
	}
}

// One line adds a managed consumer to the life cycle and the probes.
func TestConsumerIsAPart(t *testing.T) {
	t.Parallel()
	app := newApp(t, newLog(t), nil)
	require.NoError(t, app.Bus.EnsureTopic(t.Context(), bus.TopicSpec{Name: "orders"}))
	got := make(chan string, 1)
	orders, err := consumer.New(app.Bus, "orders", func(_ context.Context, d *bus.Delivery) error {
		got <- string(d.Payload)
		return nil
	}, bus.Group("billing")) // a group starts at the oldest record
	require.NoError(t, err)
	require.NoError(t, app.Add("orders", orders.Run))
	ended := runApp(t, app)
	awaitReady(t, app, true)
	require.NoError(t, app.Bus.Publish("orders", message.NewMessage("", []byte("7"))))
	select {
	case payload := <-got:
		require.Equal(t, "7", payload)
	case err := <-ended:
		t.Fatal("the App ended", err)
	case <-time.After(time.Minute):
		t.Fatal("the consumer did not receive the message within a minute")
	}
	require.NoError(t, app.Shutdown(t.Context()))
	require.NoError(t, awaitEnd(t, ended))
	require.Equal(t, consumer.Closed, orders.State())
}

func TestServerPartDrainsItsServer(t *testing.T) {
	t.Parallel()
	app := newApp(t, newLog(t), nil)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	handling, release := make(chan struct{}), make(chan struct{})
	s := &http.Server{ReadHeaderTimeout: time.Minute, Handler: http.HandlerFunc(func(http.ResponseWriter, *http.Request) { close(handling); <-release })}
	require.NoError(t, app.Add("http", trunkline.ServerPart(func() error { return s.Serve(l) }, s.Shutdown)))
	ended := runApp(t, app)
	answered := make(chan error, 1)
	go func() {
		client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
		resp, err := client.Get("http://" + l.Addr().String())
		if err == nil {
			err = resp.Body.Close()
		}
		answered <- err
	}()
	<-handling
	closed := make(chan error, 1)
	go func() { closed <- app.Close() }()
	awaitService(t, app, trunkline.AppService, probe.NotReady)
	close(release)
	assert.NoError(t, <-answered, "the request in flight ends")
	assert.NoError(t, <-closed)
	require.NoError(t, awaitEnd(t, ended))
}

func TestServerPartReportsAServerThatEnds(t *testing.T) {
	t.Parallel()
	broken := errors.New("broken")
	for name, tc := range map[string]struct {
		serve func() error
		want  string
	}{
		"with an error":    {func() error { return broken }, "broken"},
		"without an error": {func() error { return nil }, "ended by itself"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			err := trunkline.ServerPart(tc.serve, func(context.Context) error { return nil })(t.Context())
			require.ErrorContains(t, err, tc.want)
		})
	}
}

// The program is not ready before the server reads its topics.
func TestServeMakesReadinessWaitForTheServer(t *testing.T) {
	t.Parallel()
	log := newLog(t)
	log.Disconnect(nil)
	app := newApp(t, log, nil)
	require.NoError(t, rpc.Handle(app.Server, "double", func(_ context.Context, q *question) (*answer, error) { return &answer{2 * q.N}, nil }))
	ended := runApp(t, app, app.Serve(bus.TopicSpec{Name: "doubler"}))
	awaitService(t, app, trunkline.AppService, probe.Running)
	awaitService(t, app, trunkline.ServerService, probe.Preparing)
	require.False(t, app.Registry.Ready())
	log.Connect()
	awaitService(t, app, trunkline.ServerService, probe.Running)
	awaitReady(t, app, true)
	got, err := rpc.Call[answer](t.Context(), app.Client, "doubler", "double", question{N: 4})
	require.NoError(t, err, "the first call after readiness is answered")
	require.Equal(t, 8, got.N)
	require.NoError(t, app.Close())
	require.NoError(t, awaitEnd(t, ended))
	awaitService(t, app, trunkline.ServerService, probe.Stopped)
}

func TestServeEndsTheAppIfTheTopicIsInvalid(t *testing.T) {
	t.Parallel()
	app := newApp(t, newLog(t), nil)
	ended := runApp(t, app, app.Serve(bus.TopicSpec{Name: ""}))
	require.ErrorContains(t, awaitEnd(t, ended), "trunkline: serve")
	awaitService(t, app, trunkline.ServerService, probe.Failed)
}
