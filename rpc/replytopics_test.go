package rpc_test

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc/codes"

	"github.com/trunkline/trunkline/bus"
	"github.com/trunkline/trunkline/rpc"
	"github.com/trunkline/trunkline/rpc/replytopics"
	"github.com/trunkline/trunkline/transport/memory"
)

// crash makes a client that is never closed properly, and returns its reply topic.
func (w *fixture) crash(name string) string {
	w.Helper()
	b, err := bus.New(w.open())
	require.NoError(w, err)
	c, err := rpc.NewClient(b, rpc.WithName(name))
	require.NoError(w, err)
	require.NoError(w, c.Ready(w.ctx))
	require.NoError(w, b.Close())
	require.Error(w, c.Close(), "the bus is closed, so the topic is not deleted")
	return c.ReplyTopic()
}

func TestCleanDeletesReplyTopicsOfCrashedClients(t *testing.T) {
	t.Parallel()
	clean := func(w *fixture) {
		shared := "trunkline.reply." + w.name("shared")
		w.client(rpc.WithSharedReplies(bus.TopicSpec{Name: shared, Partitions: 1}))
		alive := w.client(rpc.WithName("alive"))
		require.NoError(w, alive.Ready(w.ctx))
		dead := []string{w.crash("dead"), w.crash("dead")}
		other := "trunkline.reply." + w.name("somebody-elses")
		require.NoError(w, w.bus.EnsureTopic(w.ctx, bus.TopicSpec{Name: other, Partitions: 1}))

		found, err := replytopics.Find(w.ctx, w.newBus(), 10*time.Second)
		require.NoError(w, err)
		states := map[string]replytopics.Topic{}
		for _, f := range found {
			states[f.Name] = f
		}
		require.True(w, states[alive.ReplyTopic()].Alive)
		require.Equal(w, "alive", states[alive.ReplyTopic()].Client)
		for _, d := range dead {
			require.Equal(w, "dead", states[d].Client)
			require.False(w, states[d].Alive)
		}
		require.NotContains(w, states, shared)
		require.NotContains(w, states, other)
		if !testsOwnBroker(w) {
			return // Clean would delete the topics of other tests
		}
		deleted, err := replytopics.Clean(w.ctx, w.newBus(), 10*time.Second)
		require.NoError(w, err)
		require.Len(w, deleted, 2)
		topics, err := w.bus.ListTopics(w.ctx)
		require.NoError(w, err)
		for _, d := range dead {
			require.NotContains(w, topics, d)
		}
		require.Subset(w, topics, []string{alive.ReplyTopic(), shared, other})
		require.NoError(w, alive.Ready(w.ctx))
		require.Zero(w, alive.Stats().ForeignReplies, "the reader does not count the request as a foreign reply")
	}
	t.Run("memory", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) { clean(inMemory(t)) })
	})
	t.Run("kafka", func(t *testing.T) {
		t.Parallel()
		clean(newFixture(t, onKafka(t)))
	})
}

// A client that is disconnected for a moment keeps its topic. If the process that calls
// Clean is disconnected, Clean deletes nothing.
func TestCleanKeepsReplyTopicsOfRunningClients(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		log, err := memory.NewLog()
		require.NoError(t, err)
		w := newFixture(t, onMemoryLog(t, log))
		far, err := memory.New(memory.WithLog(log))
		require.NoError(t, err)
		b, err := bus.New(far)
		require.NoError(t, err)
		defer b.Close()
		c, err := rpc.NewClient(b)
		require.NoError(t, err)
		defer c.Close()
		require.NoError(t, c.Ready(w.ctx))

		far.Disconnect(errors.New("pulled"))
		time.AfterFunc(9*time.Second, far.Connect)
		deleted, err := replytopics.Clean(w.ctx, w.bus, 10*time.Second)
		require.NoError(t, err)
		require.Empty(t, deleted)

		near, err := memory.New(memory.WithLog(log))
		require.NoError(t, err)
		cleaner, err := bus.New(near)
		require.NoError(t, err)
		defer cleaner.Close()
		far.Disconnect(errors.New("pulled"))
		time.AfterFunc(2*time.Second, func() { near.Disconnect(errors.New("pulled")); far.Connect() })
		_, err = replytopics.Clean(w.ctx, cleaner, 5*time.Second)
		require.ErrorContains(t, requireError(t, err, codes.Unavailable, false), "cannot find out")
		_, err = w.bus.DescribeTopic(w.ctx, c.ReplyTopic())
		require.NoError(t, err)
		near.Connect()
	})
}

func TestFindNeedsATransportThatListsTopics(t *testing.T) {
	t.Parallel()
	w := newFixture(t, onGochannel(t))
	_, err := replytopics.Find(w.ctx, w.bus, time.Second)
	require.Equal(t, bus.CodeUnsupported, bus.CodeOf(err))
}
