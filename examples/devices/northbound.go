package devices

import (
	"context"
	"fmt"
	"net"

	"google.golang.org/grpc"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/protobuf/types/known/emptypb"
	"google.golang.org/protobuf/types/known/structpb"

	"github.com/trunkline/trunkline"
	"github.com/trunkline/trunkline/liveness/probe"
	"github.com/trunkline/trunkline/liveness/probe/grpcprobe"
)

// MethodDevices is the gRPC method of the core. Its request is google.protobuf.Empty, and
// its response a google.protobuf.Struct with the fields of Progress. It returns UNAVAILABLE
// while the core is not ready.
const MethodDevices = "/trunkline.example.Core/Devices"

// Northbound is the gRPC server of the core, with the standard health service and
// MethodDevices. End it with the context of Serve, or with Close.
type Northbound struct {
	listener net.Listener
	server   *grpc.Server
	health   *grpcprobe.HealthServer
}

// NewNorthbound returns a Northbound that listens on addr, a host:port; port 0 picks a free
// port.
func NewNorthbound(addr string, reg *probe.Registry, core *Core) (*Northbound, error) {
	gate, err := grpcprobe.NewGate(reg)
	if err != nil {
		return nil, err
	}
	health, err := grpcprobe.NewHealthServer(reg)
	if err != nil {
		return nil, err
	}
	listener, err := net.Listen("tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("devices: cannot listen on %q for gRPC: use a free host:port: %w", addr, err)
	}
	server := grpc.NewServer(
		grpc.ChainUnaryInterceptor(gate.UnaryServerInterceptor()),
		grpc.ChainStreamInterceptor(gate.StreamServerInterceptor()),
	)
	healthpb.RegisterHealthServer(server, health)
	server.RegisterService(&coreService, core)
	return &Northbound{listener: listener, server: server, health: health}, nil
}

// Addr returns the address that the server listens on.
func (n *Northbound) Addr() net.Addr { return n.listener.Addr() }

// Serve serves until ctx ends. It then waits for running calls, as long as the shutdown of
// the App allows.
func (n *Northbound) Serve(ctx context.Context) error {
	return trunkline.ServerPart(
		func() error { return n.server.Serve(n.listener) },
		func(ctx context.Context) error {
			_ = n.health.Close() // ends its watchers, which GracefulStop would wait for
			defer context.AfterFunc(ctx, n.server.Stop)()
			n.server.GracefulStop()
			return nil
		},
	)(ctx)
}

// Close stops the server at once. It has no effect after Serve has returned.
func (n *Northbound) Close() {
	n.health.Close()
	n.server.Stop()
	_ = n.listener.Close() // Stop closes the listener only after Serve
}

// coreService is the service description that protoc would generate. The messages are
// well-known types of protobuf.
var coreService = grpc.ServiceDesc{
	ServiceName: "trunkline.example.Core",
	HandlerType: (*interface{ Progress() Progress })(nil),
	Methods:     []grpc.MethodDesc{{MethodName: "Devices", Handler: handleDevices}},
}

func handleDevices(srv any, ctx context.Context, decode func(any) error, intercept grpc.UnaryServerInterceptor) (any, error) {
	in := &emptypb.Empty{}
	if err := decode(in); err != nil {
		return nil, err
	}
	answer := func(context.Context, any) (any, error) {
		p := srv.(*Core).Progress()
		return structpb.NewStruct(map[string]any{
			"wanted": p.Wanted, "adopted": p.Adopted, "configured": p.Configured, "enabled": p.Enabled,
			"failed": p.Failed, "pending": p.Pending,
		})
	}
	if intercept == nil {
		return answer(ctx, in)
	}
	return intercept(ctx, in, &grpc.UnaryServerInfo{Server: srv, FullMethod: MethodDevices}, answer)
}

// FetchProgress calls MethodDevices.
func FetchProgress(ctx context.Context, conn grpc.ClientConnInterface) (Progress, error) {
	out := &structpb.Struct{}
	if err := conn.Invoke(ctx, MethodDevices, &emptypb.Empty{}, out); err != nil {
		return Progress{}, err
	}
	n := func(field string) int { return int(out.GetFields()[field].GetNumberValue()) }
	return Progress{Wanted: n("wanted"), Adopted: n("adopted"), Configured: n("configured"), Enabled: n("enabled"),
		Failed: n("failed"), Pending: n("pending")}, nil
}
