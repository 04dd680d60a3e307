// Package grpcprobe makes a gRPC server obey a [probe.Registry].
//
// A [Gate] turns calls away with UNAVAILABLE, and a hint when to retry, while
// the process is not ready. A [HealthServer] tells clients and load balancers,
// by the standard grpc.health.v1 service, how it is:
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
// and to stop:
//
//	health.Close()        // watchers would keep GracefulStop waiting
//	server.GracefulStop()
//
// # Semantics
//
// A call is judged when it arrives. A unary call that was let in runs to its
// end, and a stream that was let in goes on, when the process stops being ready.
// Calls to the health and reflection services are always let in.
//
// In the health service "" is the whole, SERVING while the registry is ready,
// and any other name is the service of that name in the registry, SERVING while
// it is Running. For the name of a gRPC service to be known, register one of
// that name in the registry.
//
// # What it does not do
//
// It never queues calls until the process is ready: the client knows its
// deadline and its other servers, so the client retries. Callers learn which
// services are not ready and their status, not the causes: those may hold
// addresses and other internals, and are for [probe.Handler]'s /detailz.
package grpcprobe
