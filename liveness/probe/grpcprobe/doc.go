// Package grpcprobe connects a gRPC server to a [probe.Registry].
//
// A [Gate] rejects calls with UNAVAILABLE, and with a hint when to retry, while the
// process is not ready. A [HealthServer] serves the standard grpc.health.v1 service, which
// clients and load balancers use:
//
//	gate, err := grpcprobe.NewGate(reg)
//	...
//	health, err := grpcprobe.NewHealthServer(reg)
//	...
//	server := grpc.NewServer(
//		grpc.ChainUnaryInterceptor(gate.UnaryServerInterceptor()),
//		grpc.ChainStreamInterceptor(gate.StreamServerInterceptor()),
//	)
//	healthpb.RegisterHealthServer(server, health)
//
// To stop, close the health server first, because GracefulStop waits for its streams:
//
//	health.Close()
//	server.GracefulStop()
//
// # Semantics
//
// The gate checks a call when it arrives. When the process stops being ready, unary calls
// and streams that have passed the gate continue. Calls to the health and reflection services
// always pass.
//
// In the health service, the name "" stands for the registry, which is SERVING while it is
// ready. Any other name is that of a service in the registry, which is SERVING while it is
// Running. A client that asks for the name of a gRPC service gets an answer only if the
// program registers a service with that name in the registry.
//
// # What it does not do
//
// The gate does not queue calls until the process is ready. The client has the deadline and
// the addresses of other servers, so the client should retry. Clients get the names and the
// statuses of the services that are not ready. They do not get the causes, which may
// contain addresses and other internals; /detailz of [probe.Handler] shows those.
package grpcprobe
