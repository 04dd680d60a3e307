package bustest_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/trunkline/trunkline/bus"
	"github.com/trunkline/trunkline/testing/bustest"
)

func TestCommittedAndLag(t *testing.T) {
	t.Parallel()
	k := bustest.New(t, bustest.WithTopics("t"))
	require.Zero(t, k.Committed("g", "t", 0))
	stop := make(chan struct{})
	k.Consume("t", func(_ context.Context, d *bus.Delivery) error {
		if string(d.Payload) == "stop" {
			<-stop
		}
		return nil
	}, bus.Group("g"))
	k.Publish("t", bustest.Payload("go"))
	k.Publish("t", bustest.Payload("stop"))
	k.Publish("t", bustest.Payload("go"))
	k.ExpectCommitted("g", "t", 0, 1)
	k.ExpectLag("g", "t", 2)
	require.EqualValues(t, 3, k.Lag("other", "t"))
	close(stop)
	k.ExpectCommitted("g", "t", 0, 3)
	k.WaitIdle()
	require.Equal(t, bustest.Commit{Topic: "t", Group: "g", Offset: 3}, k.Recorder().Commits("t")[2])
}

func TestFailuresOfCommittedAndLag(t *testing.T) {
	t.Parallel()
	scene := func(t testing.TB) *bustest.Kit {
		k := bustest.New(t, bustest.WithTopics("t"), bustest.WithTimeout(30*time.Millisecond))
		k.Consume("t", func(_ context.Context, d *bus.Delivery) error {
			if string(d.Payload) == "bad" {
				return bus.RetryAfter(time.Hour, errors.New("it is bad"))
			}
			return nil
		}, bus.Group("g"))
		k.Publish("t", bustest.Payload("good"))
		k.Publish("t", bustest.Payload("bad"))
		k.Publish("t", bustest.Payload("good"))
		k.ExpectDelivered("t", bustest.Payload("bad"))
		return k
	}
	deliveries := `
deliveries (2):
  t[0]@0 good to group "g", attempt 1: acknowledged
  t[0]@1 bad to group "g", attempt 1: retry: it is bad`
	require.Equal(t, `bustest: group "g" has committed offset 1 in partition 0 of "t", want 3, within 30ms`+deliveries,
		runInBubble(t, func(t testing.TB) { scene(t).ExpectCommitted("g", "t", 0, 3) }))
	require.Equal(t, `bustest: group "g" has committed offset 1 in partition 0 of "t", want 0`+deliveries,
		runInBubble(t, func(t testing.TB) { scene(t).ExpectCommitted("g", "t", 0, 0) }))
	require.Equal(t, `bustest: group "g" has a lag of 2 records on "t", want 0, within 30ms`+deliveries,
		runInBubble(t, func(t testing.TB) { scene(t).ExpectLag("g", "t", 0) }))
	require.Equal(t, "bustest: group \"h\" has a lag of 3 records on \"t\", want 0, within 30ms\nit had no deliveries",
		runInBubble(t, func(t testing.TB) { scene(t).ExpectLag("h", "t", 0) }))
	require.Equal(t, `bustest: the subscriptions are not idle within 30ms:
  group "g" has not acknowledged 2, from t[0]@1 on
not acknowledged (1):
  t[0]@1 bad to group "g", attempt 1: retry: it is bad`,
		runInBubble(t, func(t testing.TB) { scene(t).WaitIdle() }))
}

// WaitIdle returns only when the messages have passed through all three subscriptions.
func TestWaitIdleFollowsMessagesThroughSeveralTopics(t *testing.T) {
	t.Parallel()
	k := bustest.New(t, bustest.WithTopics("a", "b", "c", "d"), bustest.WithPartitions(2))
	k.Consume("a", echo(k.Bus(), "b"), bus.Group("g"), bus.OrderByKey())
	k.Consume("b", echo(k.NewClient().Bus(), "c"), bus.Group("g"), bus.CommitInterval(3*time.Millisecond))
	k.NewClient().Consume("c", echo(k.Bus(), "d"))
	for range 20 {
		for i := range 10 {
			k.Publish("a", bustest.Key(string(rune('a'+i))))
		}
		k.WaitIdle()
		for range 10 {
			k.Expect("d")
		}
		k.ExpectNoneYet("d")
	}
	require.Len(t, k.Recorder().Published("d"), 200)
}

func TestWaitIdleWithoutSubscriptions(t *testing.T) {
	t.Parallel()
	k := bustest.New(t, bustest.WithTopics("t"))
	k.Publish("t")
	k.WaitIdle()
	k.Consume("t", echo(k.Bus(), "t"), bus.Group("g"), bus.FromNewest())
	k.WaitIdle()
	k.Faults().Disconnect(nil)
	k.WaitIdle()
	k.Faults().Connect()
	k.WaitIdle()
}
