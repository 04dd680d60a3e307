package grpcprobe_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	testgrpc "google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/grpc/status"
	"google.golang.org/grpc/test/bufconn"

	"github.com/trunkline/trunkline/liveness/probe"
	"github.com/trunkline/trunkline/liveness/probe/grpcprobe"
)

func Example() {
	reg := probe.New()
	reg.Update("message-bus", probe.NotReady, errors.New("connection refused"))

	gate, err := grpcprobe.NewGate(reg, grpcprobe.WithRetryDelay(2*time.Second))
	if err != nil {
		fmt.Println(err)
		return
	}
	health, err := grpcprobe.NewHealthServer(reg)
	if err != nil {
		fmt.Println(err)
		return
	}
	server := grpc.NewServer(
		grpc.ChainUnaryInterceptor(gate.UnaryServerInterceptor()),
		grpc.ChainStreamInterceptor(gate.StreamServerInterceptor()),
	)
	healthpb.RegisterHealthServer(server, health)
	testgrpc.RegisterTestServiceServer(server, &work{calls: make(chan string, 1)})

	listener := bufconn.Listen(64 << 10)
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()
	conn, err := grpc.NewClient("passthrough:///bufconn",
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return listener.DialContext(ctx) }))
	if err != nil {
		fmt.Println(err)
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()

	_, err = testgrpc.NewTestServiceClient(conn).EmptyCall(ctx, &testgrpc.Empty{})
	refusal := status.Convert(err)
	hint := refusal.Details()[0].(*errdetails.RetryInfo)
	fmt.Println(refusal.Code(), refusal.Message(), "retry after", hint.GetRetryDelay().AsDuration())

	reg.Update("message-bus", probe.Running, nil)
	_, err = testgrpc.NewTestServiceClient(conn).EmptyCall(ctx, &testgrpc.Empty{})
	fmt.Println(err)
	answer, err := healthpb.NewHealthClient(conn).Check(ctx, &healthpb.HealthCheckRequest{Service: "message-bus"})
	fmt.Println(answer.GetStatus(), err)

	conn.Close()
	health.Close()
	server.GracefulStop()
	fmt.Println(<-served)
	// Output:
	// Unavailable not ready: message-bus is NotReady retry after 2s
	// <nil>
	// SERVING <nil>
	// <nil>
}
