package grpcprobe_test

import (
	"errors"
	"io"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	testgrpc "google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/grpc/metadata"
	reflectionpb "google.golang.org/grpc/reflection/grpc_reflection_v1"
	reflectionalphapb "google.golang.org/grpc/reflection/grpc_reflection_v1alpha"
	"google.golang.org/grpc/status"

	"github.com/trunkline/trunkline/liveness/probe"
	"github.com/trunkline/trunkline/liveness/probe/grpcprobe"
)

// unary makes one unary call and returns its outcome and trailer.
func (r *rig) unary() (metadata.MD, error) {
	var trailer metadata.MD
	_, err := testgrpc.NewTestServiceClient(r.conn).EmptyCall(r.ctx, &testgrpc.Empty{}, grpc.Trailer(&trailer))
	return trailer, err
}

// stream opens a stream and exchanges one message.
func (r *rig) stream() (metadata.MD, error) {
	stream, err := testgrpc.NewTestServiceClient(r.conn).FullDuplexCall(r.ctx)
	if err != nil {
		return nil, err
	}
	// Sending on a rejected stream may fail with EOF; Recv returns the reason.
	if err := stream.Send(&testgrpc.StreamingOutputCallRequest{}); err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	if _, err := stream.Recv(); err != nil {
		return stream.Trailer(), err
	}
	if err := stream.CloseSend(); err != nil {
		return nil, err
	}
	if _, err := stream.Recv(); !errors.Is(err, io.EOF) {
		return stream.Trailer(), err
	}
	return stream.Trailer(), nil
}

func TestGateRejectsCallsWhileNotReady(t *testing.T) {
	t.Parallel()
	for _, kind := range []struct {
		name string
		call func(*rig) (metadata.MD, error)
	}{{"unary", (*rig).unary}, {"stream", (*rig).stream}} {
		for _, tc := range []struct {
			name    string
			opts    []grpcprobe.Option
			delay   time.Duration
			trailer []string
		}{
			{"with the default hint", nil, time.Second, []string{"1000"}},
			{"with a hint", []grpcprobe.Option{grpcprobe.WithRetryDelay(1500*time.Millisecond + 1)}, 1500*time.Millisecond + 1, []string{"1501"}},
			{"without a hint", []grpcprobe.Option{grpcprobe.WithRetryDelay(0)}, 0, nil},
		} {
			t.Run(kind.name+" "+tc.name, func(t *testing.T) {
				t.Parallel()
				r := serve(t, nil, tc.opts...)
				refused := func(message string) {
					t.Helper()
					trailer, err := kind.call(r)
					refusal := status.Convert(err)
					require.Equal(t, codes.Unavailable, refusal.Code(), refusal)
					require.Equal(t, message, refusal.Message())
					require.Equal(t, tc.trailer, trailer.Get("grpc-retry-pushback-ms"))
					if tc.delay == 0 {
						require.Empty(t, refusal.Details())
					} else {
						require.Len(t, refusal.Details(), 1)
						hint, ok := refusal.Details()[0].(*errdetails.RetryInfo)
						require.True(t, ok)
						require.Equal(t, tc.delay, hint.GetRetryDelay().AsDuration())
					}
					require.Zero(t, r.through(), "a rejected call must not reach the service")
				}
				passes := func() {
					t.Helper()
					trailer, err := kind.call(r)
					require.NoError(t, err)
					require.Empty(t, trailer.Get("grpc-retry-pushback-ms"))
					require.Equal(t, 1, r.through())
				}

				refused("not ready: no service is registered")
				r.reg.Update("kv-store", probe.Running, nil)
				r.reg.Update("message-bus", probe.NotReady, errors.New("dial 10.0.0.7:9092: refused"))
				refused("not ready: message-bus is NotReady") // and no addresses
				r.reg.Update("message-bus", probe.Running, nil)
				passes()
				r.reg.Update("message-bus", probe.Stopped, nil)
				refused("not ready: message-bus is Stopped")
				r.reg.Unregister("message-bus")
				passes()
			})
		}
	}
}

func TestGateDoesNotEndOpenStreams(t *testing.T) {
	t.Parallel()
	r := serve(t, nil)
	r.reg.Update("message-bus", probe.Running, nil)
	stream, err := testgrpc.NewTestServiceClient(r.conn).FullDuplexCall(r.ctx)
	require.NoError(t, err)
	exchange := func() {
		t.Helper()
		require.NoError(t, stream.Send(&testgrpc.StreamingOutputCallRequest{}))
		_, err := stream.Recv()
		require.NoError(t, err)
	}
	exchange()
	r.reg.Update("message-bus", probe.NotReady, nil)
	exchange()
	require.NoError(t, stream.CloseSend())
	_, err = stream.Recv()
	require.ErrorIs(t, err, io.EOF)
}

func TestExemptCalls(t *testing.T) {
	t.Parallel()
	const full = "/grpc.testing.TestService/"
	for _, tc := range []struct {
		name          string
		exempt        []string
		unary, stream codes.Code
	}{
		{"none", nil, codes.Unavailable, codes.Unavailable},
		{"a method", []string{full + "EmptyCall"}, codes.OK, codes.Unavailable},
		{"a method without the slash", []string{"grpc.testing.TestService/FullDuplexCall"}, codes.Unavailable, codes.OK},
		{"a service", []string{"grpc.testing.TestService"}, codes.OK, codes.OK},
		{"another service", []string{"grpc.testing.Test", "grpc.testing.TestService/Empty"}, codes.Unavailable, codes.Unavailable},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			r := serve(t, nil, grpcprobe.WithExempt(tc.exempt...))
			_, err := r.unary()
			require.Equal(t, tc.unary, status.Code(err), err)
			_, err = r.stream()
			require.Equal(t, tc.stream, status.Code(err), err)
		})
	}
}

func TestHealthAndReflectionAreAlwaysExempt(t *testing.T) {
	t.Parallel()
	r := serve(t, nil, grpcprobe.WithExempt("grpc.testing.TestService"))
	answer, err := healthpb.NewHealthClient(r.conn).Check(r.ctx, &healthpb.HealthCheckRequest{})
	require.NoError(t, err)
	require.Equal(t, healthpb.HealthCheckResponse_NOT_SERVING, answer.GetStatus())

	stream, err := reflectionpb.NewServerReflectionClient(r.conn).ServerReflectionInfo(r.ctx)
	require.NoError(t, err)
	require.NoError(t, stream.Send(&reflectionpb.ServerReflectionRequest{MessageRequest: &reflectionpb.ServerReflectionRequest_ListServices{}}))
	services, err := stream.Recv()
	require.NoError(t, err)
	require.NotEmpty(t, services.GetListServicesResponse().GetService())
	require.NoError(t, stream.CloseSend())

	alpha, err := reflectionalphapb.NewServerReflectionClient(r.conn).ServerReflectionInfo(r.ctx)
	require.NoError(t, err)
	require.NoError(t, alpha.Send(&reflectionalphapb.ServerReflectionRequest{MessageRequest: &reflectionalphapb.ServerReflectionRequest_ListServices{}})) //nolint:staticcheck // old clients still use this version, so it is exempt, too
	_, err = alpha.Recv()
	require.NoError(t, err)
	require.NoError(t, alpha.CloseSend())
}

// The retries of a gRPC client wait for the delay of the gate. Their own back-off is longer
// than the deadline of the call here.
func TestClientRetriesUseTheHint(t *testing.T) {
	t.Parallel()
	r := serve(t, []grpc.DialOption{grpc.WithDefaultServiceConfig(`{"methodConfig": [{
		"name": [{"service": "grpc.testing.TestService"}],
		"retryPolicy": {"maxAttempts": 5, "initialBackoff": "600s", "maxBackoff": "600s", "backoffMultiplier": 1, "retryableStatusCodes": ["UNAVAILABLE"]}
	}]}`)}, grpcprobe.WithRetryDelay(time.Millisecond))
	_, err := r.unary()
	require.Equal(t, codes.Unavailable, status.Code(err), "after the last attempt, not at the deadline")
}

func TestNewGateRejectsInvalidArguments(t *testing.T) {
	t.Parallel()
	_, err := grpcprobe.NewGate(nil)
	require.ErrorContains(t, err, "registry")
	_, err = grpcprobe.NewGate(probe.New(), grpcprobe.WithRetryDelay(-time.Second))
	require.ErrorContains(t, err, "-1s")
	for _, name := range []string{"", "/", "pkg.Service/", "/pkg.Service/Method/More", "//Method"} {
		_, err = grpcprobe.NewGate(probe.New(), grpcprobe.WithExempt("pkg.Good", name))
		require.ErrorContains(t, err, "cannot exempt", name)
	}
}
