package grpcprobe_test

import (
	"context"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"

	"github.com/trunkline/trunkline/liveness/probe"
	"github.com/trunkline/trunkline/liveness/probe/grpcprobe"
)

const (
	serving    = healthpb.HealthCheckResponse_SERVING
	notServing = healthpb.HealthCheckResponse_NOT_SERVING
	unknown    = healthpb.HealthCheckResponse_SERVICE_UNKNOWN
)

func TestHealthCheckAndList(t *testing.T) {
	t.Parallel()
	r := serve(t, nil)
	client := healthpb.NewHealthClient(r.conn)
	check := func(service string, want healthpb.HealthCheckResponse_ServingStatus) {
		t.Helper()
		answer, err := client.Check(r.ctx, &healthpb.HealthCheckRequest{Service: service})
		require.NoError(t, err)
		require.Equal(t, want, answer.GetStatus())
	}
	list := func(want map[string]healthpb.HealthCheckResponse_ServingStatus) {
		t.Helper()
		answer, err := client.List(r.ctx, &healthpb.HealthListRequest{})
		require.NoError(t, err)
		got := make(map[string]healthpb.HealthCheckResponse_ServingStatus)
		for name, one := range answer.GetStatuses() {
			got[name] = one.GetStatus()
		}
		require.Equal(t, want, got)
	}

	check("", notServing)
	list(map[string]healthpb.HealthCheckResponse_ServingStatus{"": notServing})
	_, err := client.Check(r.ctx, &healthpb.HealthCheckRequest{Service: "message-bus"})
	require.Equal(t, codes.NotFound, status.Code(err))
	require.Contains(t, err.Error(), "message-bus")

	r.reg.Register("message-bus")
	r.reg.Update("kv-store", probe.Running, nil)
	check("", notServing)
	check("message-bus", notServing)
	check("kv-store", serving)
	list(map[string]healthpb.HealthCheckResponse_ServingStatus{"": notServing, "message-bus": notServing, "kv-store": serving})

	r.reg.Update("message-bus", probe.Running, nil)
	check("", serving)
	check("message-bus", serving)

	r.health.Close()
	r.health.Close()
	check("", notServing)
	check("kv-store", notServing)
	_, err = client.Check(r.ctx, &healthpb.HealthCheckRequest{Service: "other"})
	require.Equal(t, codes.NotFound, status.Code(err))
}

func (r *rig) watch(t *testing.T, ctx context.Context, service string) (expect func(healthpb.HealthCheckResponse_ServingStatus), recv func() error) {
	t.Helper()
	stream, err := healthpb.NewHealthClient(r.conn).Watch(ctx, &healthpb.HealthCheckRequest{Service: service})
	require.NoError(t, err)
	return func(want healthpb.HealthCheckResponse_ServingStatus) {
			t.Helper()
			answer, err := stream.Recv()
			require.NoError(t, err)
			require.Equal(t, want, answer.GetStatus())
		}, func() error {
			_, err := stream.Recv()
			return err
		}
}

func TestHealthWatchSendsChanges(t *testing.T) {
	t.Parallel()
	r := serve(t, nil)
	whole, _ := r.watch(t, r.ctx, "")
	bus, _ := r.watch(t, r.ctx, "message-bus")
	whole(notServing)
	bus(unknown)

	r.reg.Register("message-bus")
	bus(notServing)
	// Only a changed serving status is sent: the next one is SERVING.
	r.reg.Update("message-bus", probe.Preparing, nil)
	r.reg.Update("message-bus", probe.Running, nil)
	bus(serving)
	whole(serving)
	r.reg.Update("kv-store", probe.NotReady, nil)
	whole(notServing)
	r.reg.Update("kv-store", probe.Running, nil)
	whole(serving)
	r.reg.Unregister("message-bus")
	bus(unknown)
}

func TestHealthWatchEndsWithItsClient(t *testing.T) {
	t.Parallel()
	r := serve(t, nil)
	ctx, cancel := context.WithCancel(r.ctx)
	defer cancel()
	expect, recv := r.watch(t, ctx, "")
	expect(notServing)
	cancel()
	require.Equal(t, codes.Canceled, status.Code(recv()))
	r.server.GracefulStop() // would wait forever for a watch that goes on
}

func TestHealthServerCloseEndsWatches(t *testing.T) {
	t.Parallel()
	r := serve(t, nil)
	r.reg.Update("message-bus", probe.Running, nil)
	wholeExpect, wholeRecv := r.watch(t, r.ctx, "")
	otherExpect, otherRecv := r.watch(t, r.ctx, "other")
	wholeExpect(serving)
	otherExpect(unknown)

	r.health.Close()
	wholeExpect(notServing)
	require.Equal(t, codes.Unavailable, status.Code(wholeRecv()))
	require.Equal(t, codes.Unavailable, status.Code(otherRecv()))
	r.server.GracefulStop()
}

func TestHealthWatchOfClosedServer(t *testing.T) {
	t.Parallel()
	r := serve(t, nil)
	r.reg.Update("message-bus", probe.Running, nil)
	r.health.Close()
	expect, recv := r.watch(t, r.ctx, "")
	expect(notServing)
	require.Equal(t, codes.Unavailable, status.Code(recv()))
}

// stuck is a stream whose client receives nothing until it is released.
type stuck struct {
	grpc.ServerStream
	ctx     context.Context
	sending chan struct{}
	release chan struct{}
	sent    []healthpb.HealthCheckResponse_ServingStatus
}

func (s *stuck) Context() context.Context { return s.ctx }

func (s *stuck) Send(answer *healthpb.HealthCheckResponse) error {
	s.sent = append(s.sent, answer.GetStatus())
	s.sending <- struct{}{}
	<-s.release
	return nil
}

func TestStuckHealthWatchDoesNotDelayUpdates(t *testing.T) {
	t.Parallel()
	reg := probe.New()
	health, err := grpcprobe.NewHealthServer(reg)
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	stream := &stuck{ctx: ctx, sending: make(chan struct{}), release: make(chan struct{})}
	ended := make(chan error, 1)
	go func() { ended <- health.Watch(&healthpb.HealthCheckRequest{}, stream) }()
	<-stream.sending

	for i := range 1000 { // each would block if it waited for the watcher
		reg.Update("message-bus", probe.Running, nil)
		reg.Update("message-bus", probe.NotReady, fmt.Errorf("attempt %d", i))
	}
	reg.Update("message-bus", probe.Running, nil)
	stream.release <- struct{}{}
	<-stream.sending // the latest status only
	cancel()
	stream.release <- struct{}{}
	require.Equal(t, codes.Canceled, status.Code(<-ended))
	require.Equal(t, []healthpb.HealthCheckResponse_ServingStatus{notServing, serving}, stream.sent)
}

func TestNewHealthServerRequiresARegistry(t *testing.T) {
	t.Parallel()
	_, err := grpcprobe.NewHealthServer(nil)
	require.ErrorContains(t, err, "registry")
}
