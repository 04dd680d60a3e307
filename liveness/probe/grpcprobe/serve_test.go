package grpcprobe_test

import (
	"context"
	"net"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	testgrpc "google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/grpc/reflection"
	"google.golang.org/grpc/test/bufconn"

	"github.com/trunkline/trunkline/liveness/probe"
	"github.com/trunkline/trunkline/liveness/probe/grpcprobe"
)

// work is the service behind the gate. It reports its calls.
type work struct {
	testgrpc.UnimplementedTestServiceServer
	calls chan string
}

func (w *work) EmptyCall(context.Context, *testgrpc.Empty) (*testgrpc.Empty, error) {
	w.calls <- "EmptyCall"
	return &testgrpc.Empty{}, nil
}

// FullDuplexCall returns one message for each message.
func (w *work) FullDuplexCall(stream grpc.BidiStreamingServer[testgrpc.StreamingOutputCallRequest, testgrpc.StreamingOutputCallResponse]) error {
	w.calls <- "FullDuplexCall"
	for {
		if _, err := stream.Recv(); err != nil {
			return nil // the client has finished
		}
		if err := stream.Send(&testgrpc.StreamingOutputCallResponse{}); err != nil {
			return err
		}
	}
}

// rig is a gRPC server with a gate and a health server, and a connection to it.
type rig struct {
	reg    *probe.Registry
	server *grpc.Server
	health *grpcprobe.HealthServer
	conn   *grpc.ClientConn
	work   *work
	ctx    context.Context // bounds every call
}

func serve(t *testing.T, dial []grpc.DialOption, opts ...grpcprobe.Option) *rig {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	t.Cleanup(cancel)
	r := &rig{reg: probe.New(), work: &work{calls: make(chan string, 100)}, ctx: ctx}
	gate, err := grpcprobe.NewGate(r.reg, opts...)
	require.NoError(t, err)
	r.health, err = grpcprobe.NewHealthServer(r.reg)
	require.NoError(t, err)

	r.server = grpc.NewServer(
		grpc.ChainUnaryInterceptor(gate.UnaryServerInterceptor()),
		grpc.ChainStreamInterceptor(gate.StreamServerInterceptor()),
		grpc.WaitForHandlers(true),
	)
	testgrpc.RegisterTestServiceServer(r.server, r.work)
	healthpb.RegisterHealthServer(r.server, r.health)
	reflection.Register(r.server)

	listener := bufconn.Listen(64 << 10)
	served := make(chan error, 1)
	go func() { served <- r.server.Serve(listener) }()
	t.Cleanup(func() {
		r.server.Stop()
		assert.NoError(t, <-served)
	})

	r.conn, err = grpc.NewClient("passthrough:///bufconn", append(dial,
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return listener.DialContext(ctx) }),
	)...)
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, r.conn.Close()) })
	return r
}

// through returns how many calls have reached the service since the last call of through.
func (r *rig) through() int {
	n := 0
	for {
		select {
		case <-r.work.calls:
			n++
		default:
			return n
		}
	}
}
