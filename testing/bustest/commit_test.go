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

func TestPositions(t *testing.T) {
	t.Parallel()
	k := bustest.New(t, bustest.Topics("t"))
	require.Zero(t, k.Position("g", "t", 0))
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
	k.ExpectPosition("g", "t", 0, 1)
	k.ExpectLag("g", "t", 2)
	require.EqualValues(t, 3, k.Lag("other", "t"))
	close(stop)
	k.ExpectPosition("g", "t", 0, 3)
	k.Settle()
	require.Equal(t, bustest.Commit{Topic: "t", Group: "g", Next: 3}, k.Recorder().Commits("t")[2])
}

func TestFailuresOfPositions(t *testing.T) {
	t.Parallel()
	scene := func(t testing.TB) *bustest.Kit {
		k := bustest.New(t, bustest.Topics("t"), bustest.Patience(30*time.Millisecond))
		k.Consume("t", func(_ context.Context, d *bus.Delivery) error {
			if string(d.Payload) == "bad" {
				return bus.Retry(time.Hour, errors.New("it is bad"))
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
	require.Equal(t, `bustest: group "g" is at 1 in partition 0 of "t", want 3, within 30ms`+deliveries,
		failingFast(t, func(t testing.TB) { scene(t).ExpectPosition("g", "t", 0, 3) }))
	require.Equal(t, `bustest: group "g" is at 1 in partition 0 of "t", want 0`+deliveries,
		failingFast(t, func(t testing.TB) { scene(t).ExpectPosition("g", "t", 0, 0) }))
	require.Equal(t, `bustest: group "g" is 2 records behind on "t", want 0, within 30ms`+deliveries,
		failingFast(t, func(t testing.TB) { scene(t).ExpectLag("g", "t", 0) }))
	require.Equal(t, "bustest: group \"h\" is 3 records behind on \"t\", want 0, within 30ms\nnothing was delivered to it",
		failingFast(t, func(t testing.TB) { scene(t).ExpectLag("h", "t", 0) }))
	require.Equal(t, `bustest: it is not quiet within 30ms: these are open:
  group "g" has 2 to acknowledge, from t[0]@1 on
not acknowledged (1):
  t[0]@1 bad to group "g", attempt 1: retry: it is bad`,
		failingFast(t, func(t testing.TB) { scene(t).Settle() }))
}

// Whatever is under way, quiet means that none of it is.
func TestSettle(t *testing.T) {
	t.Parallel()
	k := bustest.New(t, bustest.Topics("a", "b", "c", "d"), bustest.Partitions(2))
	k.Consume("a", echo(k.Bus(), "b"), bus.Group("g"), bus.OrderByKey())
	k.Consume("b", echo(k.NewClient().Bus(), "c"), bus.Group("g"), bus.CommitInterval(3*time.Millisecond))
	k.NewClient().Consume("c", echo(k.Bus(), "d"))
	for range 20 {
		for i := range 10 {
			k.Publish("a", bustest.Key(string(rune('a'+i))))
		}
		k.Settle()
		for range 10 {
			k.Expect("d")
		}
		k.ExpectNoneYet("d")
	}
	require.Len(t, k.Recorder().Published("d"), 200)
}

func TestSettleWithNobodyThere(t *testing.T) {
	t.Parallel()
	k := bustest.New(t, bustest.Topics("t"))
	k.Publish("t")
	k.Settle()
	k.Consume("t", echo(k.Bus(), "t"), bus.Group("g"), bus.StartAt(bus.Newest()))
	k.Settle()
	k.Faults().Disconnect(nil)
	k.Settle()
	k.Faults().Connect()
	k.Settle()
}
