package rpc_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc/codes"

	"github.com/trunkline/trunkline/bus"
	"github.com/trunkline/trunkline/rpc"
)

func TestRunServesUntilItsContextEnds(t *testing.T) {
	onEveryTransport(t, func(w *fixture) {
		topics := []string{w.topic("calc", 1), w.topic("other", 1)}
		s := w.server()
		handle(w, s, "double", double)
		for _, topic := range topics {
			require.NoError(w, s.Listen(topic))
		}
		ctx, cancel := context.WithCancel(w.ctx)
		ran := make(chan error, 1)
		go func() { ran <- s.Run(ctx) }()
		require.NoError(w, s.Ready(w.ctx))
		for _, topic := range topics {
			_, err := rpc.Call[number](w.ctx, w.client(), topic, "double", &number{1})
			require.NoError(w, err)
		}
		cancel()
		require.NoError(w, receive(w, ran))
		require.NoError(w, s.Run(w.ctx), "the server is shut down already")
		requireError(w, s.Listen(topics[0]), codes.Unavailable, false)
	})
}

func TestRunReturnsWhenTheServerIsShutDown(t *testing.T) {
	t.Parallel()
	w := inMemory(t)
	s := w.server()
	require.NoError(t, s.Listen(w.topic("calc", 1)))
	ran := make(chan error, 1)
	go func() { ran <- s.Run(w.ctx) }()
	require.NoError(t, s.Close())
	require.NoError(t, receive(w, ran))
}

func TestRunReturnsWhenTheBusIsClosed(t *testing.T) {
	t.Parallel()
	w := inMemory(t)
	s := w.server()
	require.NoError(t, s.Listen(w.topic("calc", 1)))
	ran := make(chan error, 1)
	go func() { ran <- s.Run(w.ctx) }()
	require.NoError(t, s.Ready(w.ctx))
	require.NoError(t, w.bus.Close())
	require.NoError(t, receive(w, ran))
}

func TestRunReturnsWhyASubscriptionEnded(t *testing.T) {
	t.Parallel()
	w := inMemory(t)
	s := w.server()
	require.NoError(t, s.Listen(w.topic("calc", 1)))
	require.NoError(t, s.Listen("nowhere"))
	err := s.Run(w.ctx)
	require.ErrorContains(t, err, "nowhere")
	require.Equal(t, codes.Unimplemented, rpc.CodeOf(err))
	require.Equal(t, bus.CodeNotFound, bus.CodeOf(err))
	requireError(t, s.Listen("calc"), codes.Unavailable, false)
}

func TestRunWithoutListenFails(t *testing.T) {
	t.Parallel()
	w := inMemory(t)
	requireError(t, w.server().Run(w.ctx), codes.FailedPrecondition, false)
	requireError(t, w.server().Ready(w.ctx), codes.FailedPrecondition, false)
}

func TestNewServerRejectsSubscriptionOptionsThatCannotApply(t *testing.T) {
	t.Parallel()
	_, err := rpc.NewServer(newFixture(t, onGochannel(t)).bus, bus.Group("g"))
	requireError(t, err, codes.Unimplemented, false)
	require.Equal(t, bus.CodeUnsupported, bus.CodeOf(err))
	b := inMemory(t).bus
	for _, o := range []rpc.ServerOption{bus.Group(""), bus.Concurrency(0), bus.BatchSize(2), bus.BatchAge(time.Second), nil} {
		_, err := rpc.NewServer(b, o)
		requireError(t, err, codes.InvalidArgument, false)
	}
	_, err = rpc.NewServer(b, bus.AtMostOnce(), bus.InFlight(2))
	requireError(t, err, codes.InvalidArgument, false)
}
