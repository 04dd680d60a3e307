package probe_test

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/trunkline/trunkline/liveness/probe"
)

// loopback makes a server on a free port, and a function that runs it and returns a
// channel with the result of Run.
func loopback(t *testing.T, reg *probe.Registry, opts ...probe.ServerOption) (*probe.Server, func(context.Context) <-chan error) {
	t.Helper()
	server, err := probe.NewServer("127.0.0.1:0", reg, opts...)
	require.NoError(t, err)
	t.Cleanup(func() { _ = server.Close() })
	return server, func(ctx context.Context) <-chan error {
		ended := make(chan error, 1)
		go func() { ended <- server.Run(ctx) }()
		return ended
	}
}

// get makes a request on a new connection, with a time-out.
func get(ctx context.Context, server *probe.Server, path string) (int, string, error) {
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: time.Minute}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+server.Addr().String()+path, nil)
	if err != nil {
		return 0, "", err
	}
	answer, err := client.Do(req)
	if err != nil {
		return 0, "", err
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	return answer.StatusCode, string(body), err
}

func TestServerServesUntilItsContextEnds(t *testing.T) {
	t.Parallel()
	reg := probe.New()
	server, serve := loopback(t, reg)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	ended := serve(ctx)

	code, _, err := get(t.Context(), server, "/readyz")
	require.NoError(t, err)
	require.Equal(t, http.StatusServiceUnavailable, code)
	reg.Update("bus", probe.Running, nil)
	code, body, err := get(t.Context(), server, "/readyz?verbose")
	require.NoError(t, err)
	require.Equal(t, http.StatusOK, code)
	require.Equal(t, "[+]bus ok\nreadyz check passed\n", body)

	cancel()
	require.NoError(t, <-ended)
	_, err = net.Dial("tcp", server.Addr().String())
	require.Error(t, err, "the port is free again")
	require.NoError(t, server.Close())
	require.NoError(t, server.Close())
}

func TestNewServerReportsWhyItCannotListen(t *testing.T) {
	t.Parallel()
	first, _ := loopback(t, probe.New())
	_, err := probe.NewServer(first.Addr().String(), probe.New())
	require.ErrorContains(t, err, first.Addr().String())
	var fault *net.OpError
	require.ErrorAs(t, err, &fault)

	_, err = probe.NewServer("no port", probe.New())
	require.ErrorContains(t, err, "no port")
	_, err = probe.NewServer("127.0.0.1:0", nil)
	require.ErrorContains(t, err, "registry")
}

func TestServerRunsOnce(t *testing.T) {
	t.Parallel()
	server, serve := loopback(t, statuses(probe.Running))
	ended := serve(t.Context())
	_, _, err := get(t.Context(), server, "/livez") // it is being served
	require.NoError(t, err)
	require.ErrorContains(t, server.Run(t.Context()), "run before")

	require.NoError(t, server.Close())
	require.NoError(t, <-ended, "closing is not a fault")
}

func TestServerClosedBeforeRun(t *testing.T) {
	t.Parallel()
	server, serve := loopback(t, probe.New())
	require.NoError(t, server.Close())
	_, err := net.Dial("tcp", server.Addr().String())
	require.Error(t, err)
	require.NoError(t, <-serve(t.Context()))
}

func TestServerRunWithEndedContext(t *testing.T) {
	t.Parallel()
	_, serve := loopback(t, probe.New())
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	require.NoError(t, <-serve(ctx))
}

// busy makes a registry whose /detailz closes inFlight when it is called, and responds
// when release is closed. cutOff is done when the request ends before that.
func busy() (reg *probe.Registry, inFlight, release chan struct{}, cutOff *sync.WaitGroup) {
	reg, inFlight, release, cutOff = probe.New(), make(chan struct{}), make(chan struct{}), new(sync.WaitGroup)
	cutOff.Add(1)
	reg.Register("bus", probe.WithDetails(func(ctx context.Context) map[string]any {
		close(inFlight)
		select {
		case <-release:
		case <-ctx.Done():
			cutOff.Done()
		}
		return map[string]any{"released": true}
	}))
	return reg, inFlight, release, cutOff
}

func TestServerFinishesRequestsInFlight(t *testing.T) {
	t.Parallel()
	reg, inFlight, release, _ := busy()
	server, serve := loopback(t, reg, probe.WithCloseTimeout(time.Minute))
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	ended := serve(ctx)

	var body string
	var err error
	var client sync.WaitGroup
	client.Go(func() { _, body, err = get(t.Context(), server, "/detailz") })
	<-inFlight
	cancel()
	for { // until the server has stopped listening
		conn, dialErr := net.Dial("tcp", server.Addr().String())
		if dialErr != nil {
			break
		}
		conn.Close()
	}
	close(release)
	client.Wait()
	require.NoError(t, err)
	require.Contains(t, body, `"released": true`)
	require.NoError(t, <-ended)
}

func TestServerRunReturnsAfterShutdown(t *testing.T) {
	t.Parallel()
	reg, inFlight, release, _ := busy()
	server, run := loopback(t, reg)
	ended := run(t.Context())
	var client, closing sync.WaitGroup
	client.Go(func() { _, _, _ = get(t.Context(), server, "/detailz") })
	<-inFlight
	closing.Go(func() { assert.NoError(t, server.Shutdown(t.Context())) })
	for { // until the server has stopped listening
		conn, err := net.Dial("tcp", server.Addr().String())
		if err != nil {
			break
		}
		conn.Close()
	}
	select {
	case err := <-ended:
		t.Errorf("Run returned with a request in flight: %v", err)
	case <-time.After(20 * time.Millisecond): // a Run that does not wait has returned by now, most likely
	}
	close(release)
	client.Wait()
	closing.Wait()
	require.NoError(t, <-ended)
}

func TestServerCloseIsBounded(t *testing.T) {
	t.Parallel()
	reg, inFlight, _, cutOff := busy()
	server, serve := loopback(t, reg, probe.WithCloseTimeout(10*time.Millisecond))
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	ended := serve(ctx)

	var err error
	var client sync.WaitGroup
	client.Go(func() { _, _, err = get(t.Context(), server, "/detailz") })
	<-inFlight
	cancel()
	require.ErrorIs(t, <-ended, context.DeadlineExceeded)
	client.Wait()
	require.Error(t, err)
	cutOff.Wait()
}

// lines is a writer that sends each line of a log.
type lines chan string

func (l lines) Write(line []byte) (int, error) {
	l <- string(line)
	return len(line), nil
}

func TestServerLogsFaultsOfRequests(t *testing.T) {
	t.Parallel()
	reg := probe.New()
	reg.Register("bus", probe.WithDetails(func(context.Context) map[string]any { panic(errors.New("broken details")) }))
	logged := make(lines, 10)
	server, serve := loopback(t, reg, probe.WithLogger(slog.New(slog.NewTextHandler(logged, nil))))
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	ended := serve(ctx)

	_, _, err := get(t.Context(), server, "/detailz")
	require.Error(t, err)
	line := <-logged
	require.True(t, strings.Contains(line, "level=WARN") && strings.Contains(line, "broken details"), line)
	code, _, err := get(t.Context(), server, "/livez")
	require.NoError(t, err, "the server goes on")
	require.Equal(t, http.StatusOK, code)
	cancel()
	require.NoError(t, <-ended)
}
