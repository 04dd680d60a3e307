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

// HealthServer is the grpc.health.v1 service over a registry. Register it with
// grpc_health_v1.RegisterHealthServer, on any number of servers. Methods may be
// called concurrently.
type HealthServer struct {
	healthpb.UnimplementedHealthServer
	reg *probe.Registry

	// closed ends with Close. It is a context for its AfterFunc only.
	closed context.Context
	end    context.CancelFunc
}

// NewHealthServer makes a health service for reg. It fails if reg is nil. It has
// no goroutines of its own and need not be closed; see [HealthServer.Close].
func NewHealthServer(reg *probe.Registry) (*HealthServer, error) {
	if reg == nil {
		return nil, errors.New("grpcprobe: NewHealthServer needs a registry, got nil")
	}
	closed, end := context.WithCancel(context.Background())
	return &HealthServer{reg: reg, closed: closed, end: end}, nil
}

// Close announces the end: from now on every service is NOT_SERVING, watchers
// are told so, and then their streams end with UNAVAILABLE. Call it before
// grpc.Server.GracefulStop, which waits for all streams, and so would wait for
// watchers. It does not wait and may be called repeatedly.
func (h *HealthServer) Close() { h.end() }

// Check answers for the service asked for, NOT_FOUND if there is none.
func (h *HealthServer) Check(_ context.Context, req *healthpb.HealthCheckRequest) (*healthpb.HealthCheckResponse, error) {
	serving := h.serving(h.reg.Snapshot(), req.GetService())
	if serving == healthpb.HealthCheckResponse_SERVICE_UNKNOWN {
		return nil, status.Errorf(codes.NotFound, "no service %q is registered for health checks", req.GetService())
	}
	return &healthpb.HealthCheckResponse{Status: serving}, nil
}

// List answers for the whole, under "", and for every service of the registry,
// all of one moment.
func (h *HealthServer) List(context.Context, *healthpb.HealthListRequest) (*healthpb.HealthListResponse, error) {
	snap := h.reg.Snapshot()
	statuses := map[string]*healthpb.HealthCheckResponse{"": {Status: h.serving(snap, "")}}
	for _, s := range snap.Services {
		statuses[s.Name] = &healthpb.HealthCheckResponse{Status: h.serving(snap, s.Name)}
	}
	return &healthpb.HealthListResponse{Statuses: statuses}, nil
}

// Watch sends the status of the service asked for at once and whenever it has
// changed, until the stream's context ends or the server is closed. A service
// that is not, or no longer, registered is SERVICE_UNKNOWN. A client that reads
// slowly gets fewer statuses, always the latest.
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
