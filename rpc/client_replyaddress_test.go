package rpc_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc/codes"

	"github.com/trunkline/trunkline/bus"
	"github.com/trunkline/trunkline/rpc"
	"github.com/trunkline/trunkline/rpc/frame"
)

func TestInstancesShareAReplyTopic(t *testing.T) {
	onEveryTransport(t, func(w *fixture) {
		spec := bus.TopicSpec{Name: "trunkline.reply." + w.name("shared"), Partitions: 2}
		if caps := w.bus.Capabilities(); !caps.Partitions {
			_, err := rpc.NewClient(w.bus, rpc.WithSharedReplies(spec))
			require.ErrorContains(w, requireError(w, err, codes.Unimplemented, false), caps.Name)
			return
		}
		topic := w.topic("calc", 4)
		s := w.server()
		handle(w, s, "double", double)
		w.start(s, topic)
		var clients []*rpc.Client // more than there are partitions
		for range 5 {
			c, err := rpc.NewClient(w.newBus(), rpc.WithSharedReplies(spec))
			require.NoError(w, err)
			w.Cleanup(func() { require.NoError(w, c.Close()) })
			clients = append(clients, c)
		}
		var all sync.WaitGroup
		errs := make([]error, 200)
		for i := range errs {
			all.Go(func() {
				got, err := rpc.Call[number](w.ctx, clients[i%len(clients)], topic, "double", &number{i})
				if err == nil && got.N != 2*i {
					err = fmt.Errorf("the call with %d got %d", i, got.N)
				}
				errs[i] = err
			})
		}
		all.Wait()
		require.NoError(w, errors.Join(errs...))
		w.eventually("clients have dropped the replies of others", func() bool {
			var foreign uint64
			for _, c := range clients {
				foreign += c.Stats().ForeignReplies
			}
			return foreign >= 40 // five clients, two partitions
		})
		for _, c := range clients {
			require.NoError(w, c.Close())
		}
		info, err := w.bus.DescribeTopic(w.ctx, spec.Name)
		require.NoError(w, err, "a shared topic is not deleted")
		require.EqualValues(w, 2, info.Partitions)
		require.NoError(w, w.bus.DeleteTopic(w.ctx, spec.Name))
	})
}

func TestSharedReplyGoesToThePartitionThatTheRequestNames(t *testing.T) {
	t.Parallel()
	w := inMemory(t)
	topic := w.topic("manual", 1)
	requests := w.capture(topic)
	c := w.client(rpc.WithSharedReplies(bus.TopicSpec{Name: "trunkline.reply.shared", Partitions: 7}))
	r := w.call(w.ctx, c, topic, "m")
	f := receive(w, requests)
	require.Equal(t, "trunkline.reply.shared", f.ReplyTo)
	require.Contains(t, []int32{0, 1, 2, 3, 4, 5, 6}, f.ReplyPartition)
	for p := range int32(7) {
		m, err := encode(reply(f, fmt.Sprintf(`{"N":%d}`, p)))
		require.NoError(t, err)
		w.publishTo(f.ReplyTo, p, m)
	}
	got := receive(w, r)
	require.NoError(t, got.err)
	require.EqualValues(t, f.ReplyPartition, got.n.N)
	require.Zero(t, c.Stats().DuplicateReplies, "the client reads no other partition")
}

func TestInvalidReplyAddressesAreRejected(t *testing.T) {
	t.Parallel()
	w := inMemory(t)
	for name, opts := range map[string][]rpc.ClientOption{
		"no name":  {rpc.WithSharedReplies(bus.TopicSpec{Partitions: 2})},
		"instance": {rpc.WithSharedReplies(bus.TopicSpec{Name: w.client().ReplyTopic()})},
		"both":     {rpc.WithSharedReplies(bus.TopicSpec{Name: "shared"}), rpc.WithReplyTopic(bus.TopicSpec{})},
		"both too": {rpc.WithReplyTopic(bus.TopicSpec{}), rpc.WithSharedReplies(bus.TopicSpec{Name: "shared"})},
	} {
		_, err := rpc.NewClient(w.bus, opts...)
		requireError(t, err, codes.InvalidArgument, false)
		require.Error(t, err, name)
	}
}

// The last client that is closed deletes the topic.
func TestClientsOfABusShareTheirReplyTopic(t *testing.T) {
	t.Parallel()
	w := inMemory(t)
	topic := w.topic("calc", 1)
	s := w.server()
	handle(w, s, "double", double)
	w.start(s, topic)
	a, b, own := w.client(), w.client(), w.client(rpc.WithReplyTopic(bus.TopicSpec{}))
	require.Equal(t, a.ReplyTopic(), b.ReplyTopic())
	require.NotEqual(t, a.ReplyTopic(), own.ReplyTopic())
	require.NotEqual(t, a.ID(), b.ID())
	require.NoError(t, a.Close())
	for _, c := range []*rpc.Client{b, own} {
		_, err := rpc.Call[number](w.ctx, c, topic, "double", &number{1})
		require.NoError(t, err)
	}
	require.NoError(t, b.Close())
	_, err := w.bus.DescribeTopic(w.ctx, b.ReplyTopic())
	require.Equal(t, bus.CodeNotFound, bus.CodeOf(err))
	next := w.client()
	require.NotEqual(t, b.ReplyTopic(), next.ReplyTopic())
	otherWire := w.client(rpc.WithWire(wrappedWire{}))
	require.NotEqual(t, otherWire.ReplyTopic(), next.ReplyTopic(), "clients with different wires do not share a reader")
	_, err = rpc.Call[number](w.ctx, next, topic, "double", &number{1})
	require.NoError(t, err)
}

// wrappedWire is a wire of another type.
type wrappedWire struct{ frame.HeaderWire }

// The partition that the client has selected does not exist in the new topic.
func TestSharedReplyTopicMayBeRecreatedWithFewerPartitions(t *testing.T) {
	t.Parallel()
	w := inMemory(t)
	topic := w.topic("calc", 1)
	s := w.server()
	handle(w, s, "double", double)
	w.start(s, topic)
	shared := bus.TopicSpec{Name: "trunkline.reply.shared", Partitions: 1000}
	c := w.client(rpc.WithSharedReplies(shared))
	require.NoError(t, c.Ready(w.ctx))
	shared.Partitions = 1
	require.NoError(t, w.bus.DeleteTopic(w.ctx, shared.Name))
	require.NoError(t, w.bus.EnsureTopic(w.ctx, shared))
	info, err := w.bus.DescribeTopic(w.ctx, shared.Name)
	require.NoError(t, err)
	if info.Partitions != 1 {
		t.Skip("the client has created the topic before the test could")
	}
	got, err := rpc.Call[number](w.ctx, c, topic, "double", &number{4}, rpc.Retry(rpc.RetryPolicy{Max: 100, AttemptTimeout: 100 * time.Millisecond}))
	require.NoError(t, err)
	require.Equal(t, 8, got.N)
}

// The bus of the server creates missing topics, but not for a reply.
func TestLateReplyDoesNotRecreateItsTopic(t *testing.T) {
	for name, on := range map[string]func(*testing.T) *fixture{
		"memory": inMemory,
		"kafka":  func(t *testing.T) *fixture { return newFixture(t, onKafka(t)) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := on(t)
			topic := w.topic("slow", 1)
			b := w.newBus(bus.WithCreateTopics(bus.TopicSpec{Partitions: 1}))
			s, err := rpc.NewServer(b)
			require.NoError(t, err)
			w.Cleanup(func() { require.NoError(t, s.Shutdown(w.ctx)) })
			begun, finish := make(chan struct{}), make(chan struct{})
			handle(w, s, "wait", func(_ context.Context, n *number) (*number, error) { close(begun); <-finish; return n, nil })
			w.start(s, topic)
			c, err := rpc.NewClient(w.bus)
			require.NoError(t, err)
			r := w.call(w.ctx, c, topic, "wait")
			receive(w, begun)
			require.NoError(t, c.Close())
			requireError(t, receive(w, r).err, codes.Unavailable, false)
			close(finish)
			w.eventually("the server drops the reply", func() bool { return s.Stats().RepliesDropped == 1 })
			_, err = w.bus.DescribeTopic(w.ctx, c.ReplyTopic())
			require.Equal(t, bus.CodeNotFound, bus.CodeOf(err))
		})
	}
}
