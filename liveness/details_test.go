package liveness_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"
	"testing/synctest"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/stretchr/testify/require"

	"github.com/trunkline/trunkline/bus"
	"github.com/trunkline/trunkline/liveness"
	"github.com/trunkline/trunkline/liveness/probe"
	"github.com/trunkline/trunkline/transport/memory"
)

func TestDetailzShowsSubscriptionsAndLag(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		transport, err := memory.New()
		require.NoError(t, err)
		reg := probe.New()
		b, err := bus.New(transport)
		require.NoError(t, err)
		monitor, err := liveness.Attach(b, reg)
		require.NoError(t, err)
		require.NoError(t, b.EnsureTopic(t.Context(), bus.TopicSpec{Name: "orders", Partitions: 1}))
		handle := make(chan struct{})
		sub, err := b.Consume(t.Context(), "orders", func(context.Context, *bus.Delivery) error {
			<-handle
			return nil
		}, bus.Group("billing"))
		require.NoError(t, err)
		require.NoError(t, sub.Ready(t.Context()))
		for i := range 4 {
			require.NoError(t, b.Publish("orders", message.NewMessage(fmt.Sprint(i), nil)))
		}
		handle <- struct{}{}
		synctest.Wait()

		type subscription struct {
			Topic, Group string
			Assigned     bool
			Cause        string
			Lag          *int64
			Partitions   []struct{ Partition, Position, End, Lag int64 }
		}
		show := func() []subscription {
			w := httptest.NewRecorder()
			probe.Handler(reg).ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/detailz", nil))
			var page map[string]struct {
				Details struct{ Subscriptions []subscription }
			}
			require.NoError(t, json.Unmarshal(w.Body.Bytes(), &page), w.Body.String())
			return page[monitor.ServiceName()].Details.Subscriptions
		}
		subs := show()
		require.Len(t, subs, 1)
		require.Equal(t, "orders", subs[0].Topic)
		require.Equal(t, "billing", subs[0].Group)
		require.True(t, subs[0].Assigned)
		require.EqualValues(t, 3, *subs[0].Lag)
		require.EqualValues(t, 4, subs[0].Partitions[0].End)
		require.EqualValues(t, 1, subs[0].Partitions[0].Position)

		close(handle)
		synctest.Wait()
		require.Zero(t, *show()[0].Lag)

		transport.Disconnect(errGone)
		synctest.Wait()
		require.False(t, show()[0].Assigned)
		require.Contains(t, show()[0].Cause, "connection refused")
		require.Nil(t, show()[0].Lag, "without an assignment there is no lag")

		require.NoError(t, monitor.Close())
		require.NoError(t, b.Close())
		require.Empty(t, monitor.Subscriptions())
	})
}
