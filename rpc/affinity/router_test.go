package affinity_test

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc/codes"

	"github.com/trunkline/trunkline/bus"
	"github.com/trunkline/trunkline/rpc"
	"github.com/trunkline/trunkline/rpc/affinity"
	"github.com/trunkline/trunkline/rpc/presence"
	"github.com/trunkline/trunkline/transport/memory"
)

type text struct{ Text string }

// When a replica leaves, its keys move to the others, and few other keys move.
func TestRouterFollowsTheReplicas(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ctx := t.Context()
		tr, err := memory.New()
		require.NoError(t, err)
		b, err := bus.New(tr)
		require.NoError(t, err)
		defer b.Close()
		w, err := presence.NewWatcher(b)
		require.NoError(t, err)
		defer w.Close()
		require.NoError(t, w.Ready(ctx))
		router, err := affinity.NewRouter(w, "core")
		require.NoError(t, err)
		_, err = router.Topic("device-1")
		require.Equal(t, codes.Unavailable, rpc.CodeOf(err))

		replica := func(id string) *rpc.Server {
			topic := affinity.Topic("core", id)
			require.NoError(t, b.EnsureTopic(ctx, bus.TopicSpec{Name: topic}))
			s, err := rpc.NewServer(b, rpc.WithInstance(id), rpc.WithDiscovery())
			require.NoError(t, err)
			require.NoError(t, s.Register(rpc.Service{Name: "core", Methods: []rpc.Method{
				rpc.NewMethod("Who", func(context.Context, *text) (*text, error) { return &text{id}, nil }),
			}}))
			require.NoError(t, s.Listen(topic))
			return s
		}
		servers := map[string]*rpc.Server{}
		for i := range 4 {
			id := fmt.Sprint("core-", i)
			servers[id] = replica(id)
		}
		// An instance without a topic of its own is not in the table.
		shared, err := presence.NewAnnouncer(b, presence.Instance{Service: "core", ID: "shared", Topics: []string{"core"}})
		require.NoError(t, err)
		defer shared.Close()
		time.Sleep(5 * time.Second) // of the fake clock
		require.Equal(t, members(4), router.Table().Members())

		c, err := rpc.NewClient(b)
		require.NoError(t, err)
		defer c.Close()
		ask := func() map[string]string {
			who := map[string]string{}
			for i := range 200 {
				key := fmt.Sprint("device-", i)
				topic, err := router.Topic(key)
				require.NoError(t, err)
				got, err := rpc.Call[text](ctx, c, topic, "Who", &text{}, rpc.Key(key))
				require.NoError(t, err)
				want, err := router.Instance(key)
				require.NoError(t, err)
				require.Equal(t, want, got.Text)
				who[key] = got.Text
			}
			return who
		}
		before := ask()
		require.NoError(t, servers["core-2"].Shutdown(ctx))
		delete(servers, "core-2")
		synctest.Wait()
		require.Equal(t, []string{"core-0", "core-1", "core-3"}, router.Table().Members(), "the replica has left")
		moved := 0
		for key, who := range ask() {
			if before[key] == "core-2" {
				require.NotEqual(t, "core-2", who)
			} else if before[key] != who {
				moved++ // because of the bounded load
			}
		}
		require.LessOrEqual(t, moved, 20)
		for _, s := range servers {
			require.NoError(t, s.Shutdown(ctx))
		}
	})
}
