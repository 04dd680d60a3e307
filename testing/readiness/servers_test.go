package readiness_test

import (
	"context"
	"io"
	"net"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	testgrpc "google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/grpc/status"

	"github.com/trunkline/trunkline/liveness/probe"
	"github.com/trunkline/trunkline/liveness/probe/grpcprobe"
)

const followTarget = 50 * time.Millisecond

type work struct {
	testgrpc.UnimplementedTestServiceServer
}

func (work) EmptyCall(context.Context, *testgrpc.Empty) (*testgrpc.Empty, error) {
	return &testgrpc.Empty{}, nil
}

// change is when something became ready, or not ready.
type change struct {
	at    time.Time
	ready bool
}

// changes is a list of changes, in order.
type changes struct {
	mu  sync.Mutex
	all []change
}

// saw adds what was observed at that time, if it differs from the last change.
func (c *changes) saw(at time.Time, ready bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if n := len(c.all); n == 0 || c.all[n-1].ready != ready {
		c.all = append(c.all, change{at, ready})
	}
}

func (c *changes) list() []change {
	c.mu.Lock()
	defer c.mu.Unlock()
	return append([]change(nil), c.all...)
}

// servers are the servers of a registry, with clients that send requests all the time.
type servers struct {
	reg      *probe.Registry
	httpAddr string
	conn     *grpc.ClientConn
	registry changes
	seen     map[string]*changes
	end      context.CancelFunc
	running  sync.WaitGroup
}

// serve starts the servers and the clients. They end with the test.
func serve(t *testing.T, reg *probe.Registry) *servers {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	s := &servers{reg: reg, end: cancel, seen: map[string]*changes{
		"HTTP /readyz": {}, "gRPC health Check": {}, "gRPC health Watch": {}, "gRPC call through the gate": {}}}

	web, err := probe.NewServer("127.0.0.1:0", reg)
	require.NoError(t, err)
	s.httpAddr = web.Addr().String()
	s.running.Go(func() { assert.NoError(t, web.Run(ctx)) })

	gate, err := grpcprobe.NewGate(reg)
	require.NoError(t, err)
	health, err := grpcprobe.NewHealthServer(reg)
	require.NoError(t, err)
	server := grpc.NewServer(grpc.ChainUnaryInterceptor(gate.UnaryServerInterceptor()), grpc.ChainStreamInterceptor(gate.StreamServerInterceptor()))
	healthpb.RegisterHealthServer(server, health)
	testgrpc.RegisterTestServiceServer(server, work{})
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	s.running.Go(func() { assert.NoError(t, server.Serve(listener)) })
	s.conn, err = grpc.NewClient(listener.Addr().String(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	require.NoError(t, err)

	s.running.Go(func() { s.record(ctx) })
	s.running.Go(func() { s.askHTTP(ctx) })
	s.running.Go(func() { s.askGRPC(ctx) })
	s.running.Go(func() { s.watchGRPC(ctx) })
	t.Cleanup(func() {
		cancel()
		health.Close()
		server.Stop()
		assert.NoError(t, s.conn.Close())
		s.running.Wait()
	})
	return s
}

// record records the changes of the registry, which happen when a service changes.
func (s *servers) record(ctx context.Context) {
	for snap := range s.reg.Watch(ctx) {
		var last time.Time
		for _, service := range snap.Services {
			if service.Since.After(last) {
				last = service.Since
			}
		}
		s.registry.saw(last, snap.Ready)
	}
}

// every calls ask every 10 ms until ctx ends.
func every(ctx context.Context, ask func()) {
	ticker := time.NewTicker(10 * time.Millisecond)
	defer ticker.Stop()
	for ctx.Err() == nil {
		ask()
		select {
		case <-ticker.C:
		case <-ctx.Done():
		}
	}
}

func (s *servers) askHTTP(ctx context.Context) {
	transport := &http.Transport{}
	defer transport.CloseIdleConnections()
	client := &http.Client{Transport: transport, Timeout: 10 * time.Second}
	every(ctx, func() {
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+s.httpAddr+"/readyz", nil)
		if err != nil {
			return
		}
		response, err := client.Do(request)
		if err != nil {
			return
		}
		_, _ = io.Copy(io.Discard, response.Body)
		response.Body.Close()
		s.seen["HTTP /readyz"].saw(time.Now(), response.StatusCode == http.StatusOK)
	})
}

func (s *servers) askGRPC(ctx context.Context) {
	health, calls := healthpb.NewHealthClient(s.conn), testgrpc.NewTestServiceClient(s.conn)
	every(ctx, func() {
		answer, err := health.Check(ctx, &healthpb.HealthCheckRequest{})
		if err == nil {
			s.seen["gRPC health Check"].saw(time.Now(), answer.GetStatus() == healthpb.HealthCheckResponse_SERVING)
		}
		_, err = calls.EmptyCall(ctx, &testgrpc.Empty{})
		if code := status.Code(err); code == codes.OK || code == codes.Unavailable {
			s.seen["gRPC call through the gate"].saw(time.Now(), code == codes.OK)
		}
	})
}

func (s *servers) watchGRPC(ctx context.Context) {
	stream, err := healthpb.NewHealthClient(s.conn).Watch(ctx, &healthpb.HealthCheckRequest{})
	for err == nil {
		var answer *healthpb.HealthCheckResponse
		if answer, err = stream.Recv(); err == nil {
			s.seen["gRPC health Watch"].saw(time.Now(), answer.GetStatus() == healthpb.HealthCheckResponse_SERVING)
		}
	}
}

// follows compares what each client observed with the registry, and adds the time from each
// change to its first observation to the figures. A client may miss a change that lasted less
// than a few times the target, and the change after it.
func (s *servers) follows(t *testing.T, fs *figures) {
	t.Helper()
	const brief = generous * followTarget
	registry := s.registry.list()
	for name, seen := range s.seen {
		for i := 1; i < len(registry); i++ { // the clients start after the first
			c, end := registry[i], time.Now()
			if i+1 < len(registry) {
				end = registry[i+1].at
			}
			at, found := seen.first(c, end)
			switch {
			case found:
				fs.add(name+" follows the registry", followTarget, at.Sub(c.at))
			case end.Sub(c.at) < brief || c.at.Sub(registry[i-1].at) < brief:
				t.Logf("%s: %s did not observe ready=%v, one of two changes %v apart", c.at.Format("15:04:05.000"), name, c.ready, min(end.Sub(c.at), c.at.Sub(registry[i-1].at)))
			default:
				t.Errorf("%s: %s did not observe ready=%v, which lasted %v", c.at.Format("15:04:05.000"), name, c.ready, end.Sub(c.at))
			}
		}
	}
}

// first returns when a change of the registry, which lasted until end, was first observed.
// It returns false if the client missed the change before it, because then there was
// nothing to observe.
func (c *changes) first(of change, end time.Time) (time.Time, bool) {
	all := c.list()
	for i, sight := range all {
		if !sight.at.Before(of.at) && i > 0 && all[i-1].ready == of.ready {
			return time.Time{}, false
		}
		if sight.ready == of.ready && !sight.at.Before(of.at) && sight.at.Before(end.Add(generous*followTarget)) {
			return sight.at, true
		}
	}
	return time.Time{}, false
}

// ignore attaches slow observers and stuck observers to the registry and the servers.
func (s *servers) ignore(ctx context.Context, t *testing.T) {
	t.Helper()
	s.running.Go(func() {
		for range s.reg.Watch(ctx) {
			<-ctx.Done()
		}
	})
	s.running.Go(func() {
		for range s.reg.Watch(ctx) {
			pause(ctx, 700*time.Millisecond)
		}
	})
	_, err := healthpb.NewHealthClient(s.conn).Watch(ctx, &healthpb.HealthCheckRequest{}) // without ever receiving
	require.NoError(t, err)
	half, err := net.Dial("tcp", s.httpAddr)
	require.NoError(t, err)
	_, err = half.Write([]byte("GET /readyz HTTP/1.1\r\n"))
	require.NoError(t, err)
	t.Cleanup(func() { half.Close() })
}

func pause(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}
