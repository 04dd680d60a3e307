package grpcprobe

import (
	"context"
	"errors"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"

	"github.com/trunkline/trunkline/liveness/probe"
)

// HealthServer implements the grpc.health.v1 service for a registry. Register it with
// grpc_health_v1.RegisterHealthServer, on any number of servers. All methods are safe for
// concurrent use.
type HealthServer struct {
	healthpb.UnimplementedHealthServer
	reg *probe.Registry

	closed context.Context // ends with Close; a context because of context.AfterFunc
	end    context.CancelFunc
}

// NewHealthServer returns a health server for reg. It returns an error if reg is nil. A
// health server has no goroutines of its own.
func NewHealthServer(reg *probe.Registry) (*HealthServer, error) {
	if reg == nil {
		return nil, errors.New("grpcprobe: new health server: the registry is nil")
	}
	closed, end := context.WithCancel(context.Background())
	return &HealthServer{reg: reg, closed: closed, end: end}, nil
}

// Close makes every service NOT_SERVING. It sends that to the clients that watch, and then
// ends their streams with UNAVAILABLE. Call it before grpc.Server.GracefulStop, which waits
// for all streams. Close does not wait for the streams. It is idempotent and always returns
// nil.
func (h *HealthServer) Close() error {
	h.end()
	return nil
}

// Check returns the status of a service, and NOT_FOUND if it does not exist.
func (h *HealthServer) Check(_ context.Context, req *healthpb.HealthCheckRequest) (*healthpb.HealthCheckResponse, error) {
	serving := h.serving(h.reg.Snapshot(), req.GetService())
	if serving == healthpb.HealthCheckResponse_SERVICE_UNKNOWN {
		return nil, status.Errorf(codes.NotFound, "no service %q is registered", req.GetService())
	}
	return &healthpb.HealthCheckResponse{Status: serving}, nil
}

// List returns the status of the registry, under the name "", and the status of every
// service. It reads all of them at the same moment.
func (h *HealthServer) List(context.Context, *healthpb.HealthListRequest) (*healthpb.HealthListResponse, error) {
	snap := h.reg.Snapshot()
	statuses := map[string]*healthpb.HealthCheckResponse{"": {Status: h.serving(snap, "")}}
	for _, s := range snap.Services {
		statuses[s.Name] = &healthpb.HealthCheckResponse{Status: h.serving(snap, s.Name)}
	}
	return &healthpb.HealthListResponse{Statuses: statuses}, nil
}

// Watch sends the status of a service at once and after each change, until the stream's
// context ends or the health server is closed. A service that is not registered is
// SERVICE_UNKNOWN. A client that reads slowly gets fewer statuses, and always the latest.
func (h *HealthServer) Watch(req *healthpb.HealthCheckRequest, stream grpc.ServerStreamingServer[healthpb.HealthCheckResponse]) error {
	ctx, cancel := context.WithCancel(stream.Context())
	defer cancel()
	defer context.AfterFunc(h.closed, cancel)()

	sent := healthpb.HealthCheckResponse_ServingStatus(-1)
	send := func(snap probe.Snapshot) error {
		serving := h.serving(snap, req.GetService())
		if serving == sent {
			return nil
		}
		sent = serving
		return stream.Send(&healthpb.HealthCheckResponse{Status: serving})
	}
	for snap := range h.reg.Watch(ctx) {
		if err := send(snap); err != nil {
			return err
		}
	}
	if err := stream.Context().Err(); err != nil {
		return status.FromContextError(err).Err()
	}
	if err := send(h.reg.Snapshot()); err != nil {
		return err
	}
	return status.Error(codes.Unavailable, "the server is stopping")
}

func (h *HealthServer) serving(snap probe.Snapshot, name string) healthpb.HealthCheckResponse_ServingStatus {
	ready := snap.Ready
	if name != "" {
		service, found := snap.Service(name)
		if !found {
			return healthpb.HealthCheckResponse_SERVICE_UNKNOWN
		}
		ready = service.Status.Ready()
	}
	if ready && h.closed.Err() == nil {
		return healthpb.HealthCheckResponse_SERVING
	}
	return healthpb.HealthCheckResponse_NOT_SERVING
}
