package rpc_test

import (
	"context"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc/codes"

	"github.com/trunkline/trunkline/rpc"
	"github.com/trunkline/trunkline/transport/memory"
)

// The partition is revoked while the server is shutting down.
func TestRequestOfAPartitionRevokedDuringShutdownRunsAgain(t *testing.T) {
	t.Parallel()
	log, err := memory.NewLog()
	require.NoError(t, err)
	w := newFixture(t, onMemoryLog(t, log))
	topic := w.topic("moving", 1)
	begun := make(chan struct{})
	first := w.server()
	handle(w, first, "run", func(ctx context.Context, _ *number) (*number, error) {
		close(begun)
		<-ctx.Done()
		return nil, ctx.Err()
	})
	w.start(first, topic)
	// The first server may get the partition again before its subscription begins to shut
	// down. Then it answers Unavailable, without running the request.
	retry := rpc.Retry(rpc.RetryPolicy{Max: 20, MinBackoff: time.Millisecond})
	r := w.call(w.ctx, w.client(), topic, "run", retry)
	receive(w, begun)
	down := make(chan error, 1)
	go func() { down <- first.Shutdown(w.ctx) }()
	w.eventually("the server is shutting down", func() bool { return rpc.CodeOf(first.Listen("")) == codes.Unavailable })
	second, err := rpc.NewServer(w.newBus())
	require.NoError(t, err)
	w.Cleanup(func() { require.NoError(t, second.Shutdown(w.ctx)) })
	handle(w, second, "run", func(context.Context, *number) (*number, error) { return &number{2}, nil })
	require.NoError(t, second.Listen(topic))
	require.NoError(t, log.ExpireMembers("trunkline.rpc."+topic, topic))
	got := receive(w, r)
	require.NoError(t, got.err)
	require.Equal(t, 2, got.n.N)
	require.NoError(t, receive(w, down))
	require.Zero(t, first.Stats().Failed, "the interrupted handler is not answered")
}

// The error of the interrupted handler is not sent.
func TestRequestOfARevokedPartitionRunsAgain(t *testing.T) {
	t.Parallel()
	log, err := memory.NewLog()
	require.NoError(t, err)
	w := newFixture(t, onMemoryLog(t, log))
	topic := w.topic("moving", 1)
	s := w.server()
	var runs atomic.Int64
	first := make(chan struct{})
	handle(w, s, "run", func(ctx context.Context, _ *number) (*number, error) {
		if runs.Add(1) == 1 {
			close(first)
			<-ctx.Done()
			return nil, ctx.Err()
		}
		return &number{2}, nil
	})
	w.start(s, topic)
	r := w.call(w.ctx, w.client(), topic, "run")
	receive(w, first)
	require.NoError(t, log.ExpireMembers("trunkline.rpc."+topic, topic))
	got := receive(w, r)
	require.NoError(t, got.err)
	require.Equal(t, 2, got.n.N)
	require.EqualValues(t, 2, runs.Load())
}
