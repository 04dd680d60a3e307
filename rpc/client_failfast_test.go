package rpc_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc/codes"

	"github.com/trunkline/trunkline/rpc"
	"github.com/trunkline/trunkline/rpc/presence"
	"github.com/trunkline/trunkline/transport/memory"
)

func TestCallWithoutServerFailsAtOnce(t *testing.T) {
	t.Parallel()
	for _, tr := range transports[:2] { // memory and Go channels
		t.Run(tr.name, func(t *testing.T) {
			t.Parallel()
			w := newFixture(t, tr.open(t))
			topic := w.topic("calc", 1)
			c := w.client()
			callWithoutServer := func() {
				_, err := rpc.Call[number](w.ctx, c, topic, "double", &number{1})
				require.True(t, requireError(t, err, codes.Unavailable, false).Retryable())
				require.ErrorIs(t, err, rpc.ErrNoServer)
				require.Zero(t, c.Stats().Pending)
			}
			callWithoutServer()
			s := w.server()
			handle(w, s, "double", double)
			w.start(s, topic)
			_, err := rpc.Call[number](w.ctx, c, topic, "double", &number{1})
			require.NoError(t, err)
			require.NoError(t, s.Shutdown(w.ctx))
			callWithoutServer()
		})
	}
}

// The first call waits for announcements. Later ones fail at once, also after a server has
// left, and after one has crashed.
func TestFailFastUsesAnnouncements(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		log, err := memory.NewLog()
		require.NoError(t, err)
		w := newFixture(t, onMemoryLog(t, log))
		topic := w.topic("calc", 1)
		c := w.client(rpc.WithFailFast(8 * time.Second))
		call := func() (time.Duration, error) {
			begun := time.Now()
			_, err := rpc.Call[number](context.Background(), c, topic, "double", &number{1})
			return time.Since(begun), err
		}
		took, err := call()
		require.ErrorIs(t, err, rpc.ErrNoServer)
		requireError(t, err, codes.Unavailable, false)
		require.Equal(t, 8*time.Second, took)
		took, err = call()
		require.ErrorIs(t, err, rpc.ErrNoServer)
		require.Zero(t, took, "the watcher has read announcements for long enough")

		s, err := rpc.NewServer(w.bus, rpc.WithDiscovery())
		require.NoError(t, err)
		handle(w, s, "double", double)
		w.start(s, topic)
		synctest.Wait()
		_, err = call()
		require.NoError(t, err)
		require.NoError(t, s.Shutdown(w.ctx))
		synctest.Wait()
		took, err = call()
		require.ErrorIs(t, err, rpc.ErrNoServer)
		require.Zero(t, took, "the server has withdrawn its announcement")

		tr, err := memory.New(memory.WithLog(log))
		require.NoError(t, err)
		b := w.busOn(tr)
		dying, err := rpc.NewServer(b, rpc.WithDiscovery(presence.WithInterval(time.Second)))
		require.NoError(t, err)
		handle(w, dying, "double", double)
		w.start(dying, topic)
		synctest.Wait()
		_, err = call()
		require.NoError(t, err)
		tr.Crash()
		time.Sleep(6 * time.Second)
		took, err = call()
		require.ErrorIs(t, err, rpc.ErrNoServer)
		require.Zero(t, took, "the announcement has expired")
		_ = dying.Shutdown(w.ctx) // its transport has crashed
	})
}

func TestFailFastWaitsForAServer(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := inMemory(t)
		topic := w.topic("calc", 1)
		c := w.client(rpc.WithFailFast(8 * time.Second))
		r := w.call(w.ctx, c, topic, "double")
		time.Sleep(3 * time.Second)
		s, err := rpc.NewServer(w.bus, rpc.WithDiscovery())
		require.NoError(t, err)
		handle(w, s, "double", double)
		w.start(s, topic)
		require.NoError(t, (<-r).err)
		require.NoError(t, s.Shutdown(w.ctx))
		_, err = rpc.NewClient(w.bus, rpc.WithFailFast(time.Millisecond))
		requireError(t, err, codes.InvalidArgument, false)
	})
}

func TestFailFastDoesNotFailCallsWhileAnnouncementsCannotBeRead(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		log, err := memory.NewLog()
		require.NoError(t, err)
		w := newFixture(t, onMemoryLog(t, log))
		topic := w.topic("calc", 1)
		c := w.client(rpc.WithFailFast(2 * time.Second))
		require.NoError(t, c.Ready(w.ctx))
		log.Disconnect(nil)
		begun := time.Now()
		_, err = rpc.Call[number](context.Background(), c, topic, "double", &number{1}, rpc.Timeout(20*time.Second))
		require.Error(t, err)
		require.NotErrorIs(t, err, rpc.ErrNoServer)
		require.GreaterOrEqual(t, time.Since(begun), 2*time.Second)
		log.Connect()
	})
}
