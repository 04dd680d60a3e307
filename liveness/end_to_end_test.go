package liveness_test

import (
	"context"
	"net"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	testgrpc "google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/grpc/status"
	"google.golang.org/grpc/test/bufconn"

	"github.com/trunkline/trunkline/bus"
	"github.com/trunkline/trunkline/liveness"
	"github.com/trunkline/trunkline/liveness/probe"
	"github.com/trunkline/trunkline/liveness/probe/grpcprobe"
	"github.com/trunkline/trunkline/transport/memory"
)

type work struct {
	testgrpc.UnimplementedTestServiceServer
}

func (work) EmptyCall(context.Context, *testgrpc.Empty) (*testgrpc.Empty, error) {
	return &testgrpc.Empty{}, nil
}

// serve runs a gRPC server with a gate for reg. It returns a function that makes a call.
func serve(t *testing.T, reg *probe.Registry) func() codes.Code {
	t.Helper()
	gate, err := grpcprobe.NewGate(reg)
	require.NoError(t, err)
	server := grpc.NewServer(grpc.ChainUnaryInterceptor(gate.UnaryServerInterceptor()), grpc.WaitForHandlers(true))
	testgrpc.RegisterTestServiceServer(server, work{})
	listener := bufconn.Listen(64 << 10)
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()
	t.Cleanup(func() {
		server.Stop()
		assert.NoError(t, <-served)
	})
	conn, err := grpc.NewClient("passthrough:///bufconn", grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return listener.DialContext(ctx) }))
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, conn.Close()) })
	client := testgrpc.NewTestServiceClient(conn)
	return func() codes.Code {
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		_, err := client.EmptyCall(ctx, &testgrpc.Empty{})
		return status.Code(err)
	}
}

// The test uses the real transport, monitor, registry, gate and gRPC server.
func TestLostBrokerRejectsCallsUntilItIsAvailableAgain(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	transport, err := memory.New()
	require.NoError(t, err)
	b, err := bus.New(transport, bus.WithCreateTopics(bus.TopicSpec{}))
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, b.Close()) })
	reg := probe.New()
	monitor, err := liveness.New(b, reg)
	require.NoError(t, err)
	call := serve(t, reg)
	require.Equal(t, codes.Unavailable, call(), "not started yet")

	handled := make(chan string, 10)
	sub, err := b.Consume(ctx, "orders", func(_ context.Context, d *bus.Delivery) error {
		handled <- d.UUID
		return nil
	}, bus.Group("billing"))
	require.NoError(t, err)
	monitor.Require(sub)
	running := make(chan error, 1)
	go func() { running <- monitor.Run(ctx) }()
	require.NoError(t, reg.WaitReady(ctx))
	require.Equal(t, codes.OK, call())
	ready, err := sub.Assigned()
	require.NoError(t, err)
	require.True(t, ready)

	for range 3 {
		seen := monitor.State()
		transport.Disconnect(&bus.Error{Code: bus.CodeUnavailable, Op: "connect", Reason: "pulled by the test"})
		lost, err := monitor.Wait(ctx, seen.Version)
		require.NoError(t, err)
		require.Equal(t, probe.NotReady, lost.Status)
		require.ErrorContains(t, lost.Cause, "pulled by the test")
		require.False(t, lost.Live)
		for snap := range reg.Watch(ctx) {
			if !snap.Ready {
				break
			}
		}
		require.False(t, reg.Ready())
		require.True(t, reg.Healthy())
		require.Equal(t, codes.Unavailable, call())
		require.Error(t, b.Publish("orders", message.NewMessage("lost", nil)))

		transport.Connect()
		require.NoError(t, reg.WaitReady(ctx))
		require.Equal(t, codes.OK, call())
		require.NoError(t, b.Publish("orders", message.NewMessage("sent", nil)))
		select {
		case id := <-handled:
			require.Equal(t, "sent", id)
		case <-ctx.Done():
			require.FailNow(t, "the message was not delivered")
		}
	}

	require.NoError(t, monitor.Close())
	require.NoError(t, <-running)
	require.False(t, reg.Healthy())
	require.Equal(t, codes.Unavailable, call())
}
