package bustest_test

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/stretchr/testify/require"

	"github.com/trunkline/trunkline/bus"
	"github.com/trunkline/trunkline/testing/bustest"
)

// echo publishes each message to another topic.
func echo(b *bus.Bus, to string) bus.Handler {
	return func(ctx context.Context, d *bus.Delivery) error {
		m := d.Message()
		m.SetContext(ctx)
		return b.Publish(to, m)
	}
}

func TestExpectFindsEachPublishedMessageOnce(t *testing.T) {
	t.Parallel()
	k := bustest.New(t, bustest.WithTopics("in", "out"))
	k.Consume("in", echo(k.Bus(), "out"))
	first := k.Publish("in", bustest.Key("k"), bustest.Payload("1"), bustest.Header("a", "b"), bustest.UUID("u"))
	require.Equal(t, "in[0]@0 key \"k\" {a: b} 1", first.String())
	k.Publish("in", bustest.Payload("2"))
	k.Publish("in", bustest.Payload("2"))

	require.EqualValues(t, 1, k.Expect("out", bustest.Payload("2")).Offset)
	require.EqualValues(t, 2, k.Expect("", bustest.Payload("2")).Offset, "Expect returns each message once")
	require.Equal(t, bustest.Message{Topic: "out", Partition: 0, Offset: 0, UUID: "u", Key: "k", Payload: []byte("1"),
		Headers: map[string]string{"a": "b"}}.String(), k.Expect("out", bustest.Key("k"), bustest.UUID("u"), bustest.Header("a", "b")).String())
	k.ExpectNone("out")
	k.ExpectNone("in")
	k.ExpectDelivered("in", bustest.Key("k"), bustest.Acknowledged(), bustest.ToGroup(""))
	k.ExpectNoneDelivered("in", bustest.Redelivered())
}

func TestExpectWaitsForTheMessage(t *testing.T) {
	t.Parallel()
	k := bustest.New(t, bustest.WithTopics("in", "out"))
	release := make(chan struct{})
	k.Consume("in", func(ctx context.Context, d *bus.Delivery) error {
		<-release
		return echo(k.Bus(), "out")(ctx, d)
	})
	k.Publish("in", bustest.Payload("x"))
	k.ExpectNoneYet("out")
	close(release)
	k.Expect("out", bustest.Payload("x"))
}

func TestPublishMessagesReturnsThePlacesInTheLog(t *testing.T) {
	t.Parallel()
	k := bustest.New(t, bustest.WithTopics("t"), bustest.WithPartitions(3))
	m := message.NewMessage("u", []byte("x"))
	bus.SetPartition(m, 2)
	all := k.PublishMessages("t", m, message.NewMessage("v", nil))
	require.EqualValues(t, 2, all[0].Partition)
	require.Equal(t, "v", all[1].UUID)
	require.Len(t, k.Recorder().Published("t"), 2)
	k.CreateTopic(bus.TopicSpec{Name: "wide", Partitions: 7})
	require.EqualValues(t, 6, k.Publish("wide", bustest.Partition(6)).Partition)
}

func TestMisuseFailsTheTest(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		test func(t testing.TB)
		want string
	}{
		"nothing": {func(t testing.TB) { bustest.New(t, bustest.WithTopics("t")) }, ""},
		"a topic twice": {func(t testing.TB) { bustest.New(t, bustest.WithTopics("t", "t")) },
			`bustest: memory: create topic "t": …`},
		"no timeout": {func(t testing.TB) { bustest.New(t, bustest.WithTimeout(0)) },
			`bustest: WithTimeout: the timeout must be greater than 0, got 0s`},
		"a bus option": {func(t testing.TB) { bustest.New(t, bustest.WithBusOptions(bus.WithCloseTimeout(-1))) },
			`bustest: …`},
		"no such topic": {func(t testing.TB) { bustest.New(t).Publish("t") },
			`bustest: publish to "t": memory: publish "t": …`},
		"no such topic to consume": {func(t testing.TB) { bustest.New(t).Consume("t", echo(nil, "")) },
			`bustest: the subscription to "t" is not ready: memory: subscribe "t": …`},
		"no handler": {func(t testing.TB) { bustest.New(t).Consume("t", nil) },
			`bustest: subscribe "t": …`},
		"what can't be given": {func(t testing.TB) { bustest.New(t).Publish("t", bustest.HasHeader("h")) },
			`bustest: publish to "t": a header h can only be expected of a message, not set`},
		"a nil message": {func(t testing.TB) { bustest.New(t).PublishMessages("t", nil) },
			`bustest: publish to "t": message 0 is nil`},
		"what is no JSON": {func(t testing.TB) { bustest.New(t).Publish("t", bustest.JSON(func() {})) },
			`bustest: publish to "t": JSON (empty): json: unsupported type: func()`},
		"what can't be expected": {func(t testing.TB) { bustest.New(t).Expect("t", bustest.Timestamp(time.Unix(0, 0).UTC())) },
			`bustest: timestamp 1970-01-01T00:00:00Z can only be set on a message, not expected`},
		"what only deliveries have": {func(t testing.TB) { bustest.New(t).Expect("t", bustest.Acknowledged()) },
			`bustest: "acknowledged" is a property of deliveries: use ExpectDelivered`},
		"no such group": {func(t testing.TB) { bustest.New(t, bustest.WithTopics("t")).Rebalance("g", "t") },
			`bustest: memory: rebalance "t": …`},
		"time goes back": {func(t testing.TB) { bustest.New(t).Advance(-1) },
			`bustest: Advance: the duration must not be negative, got -1ns`},
		"nothing there": {func(t testing.TB) { bustest.New(t).Expect("t") },
			"bustest: no message on \"t\" within 10s\nthere is nothing on \"t\""},
		"a context that has ended": {func(t testing.TB) {
			ctx, cancel := context.WithCancelCause(context.Background())
			cancel(errors.New("enough"))
			bustest.New(t).WithContext(ctx).Expect("")
		}, "bustest: no message on any topic before the context ended (enough)\nthere is nothing on any topic"},
		"a deadline of the context": {func(t testing.TB) {
			ctx, cancel := context.WithTimeout(context.Background(), time.Millisecond)
			defer cancel()
			bustest.New(t).WithContext(ctx).Expect("t")
		}, "bustest: no message on \"t\" before the context ended (context deadline exceeded)\nthere is nothing on \"t\""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got := runInBubble(t, tt.test)
			if prefix, ok := strings.CutSuffix(tt.want, "…"); ok {
				require.Truef(t, strings.HasPrefix(got, prefix), "got %q", got)
				return
			}
			require.Equal(t, tt.want, got)
		})
	}
	require.Equal(t, `bustest: Advance(1s): the real time cannot be moved: run the test inside testing/synctest, or use WithClock`,
		runTest(func(t testing.TB) { bustest.New(t).Advance(time.Second) }))
}

func TestFailureListsMessagesAndReasons(t *testing.T) {
	t.Parallel()
	got := runInBubble(t, func(t testing.TB) {
		k := bustest.New(t, bustest.WithTopics("orders", "bills", "audit"), bustest.WithTimeout(50*time.Millisecond))
		b := k.Bus()
		publish := func(topic, key, payload string) {
			m := message.NewMessage("u", []byte(payload))
			bus.SetKey(m, key)
			m.Metadata.Set("source", "billing")
			_ = b.Publish(topic, m) // the publish to nowhere fails
		}
		publish("bills", "o-7", `{"total":13}`)
		publish("bills", "o-8", `{"total":12}`)
		publish("bills", "o-7", `{"total":12}`)
		publish("bills", "", "\x00\x01")
		publish("audit", "", "seen")
		publish("nowhere", "", "x")
		k.Publish("bills", bustest.Key("o-7"), bustest.JSON(map[string]int{"total": 12}))
		k.Consume("orders", func(context.Context, *bus.Delivery) error { return errors.New("no such\ncustomer") }, bus.Group("billing"),
			bus.Backoff(time.Hour, time.Hour))
		k.Publish("orders", bustest.Payload("hello"))
		k.ExpectDelivered("orders", bustest.FailedWith(bus.CodeUnknown))
		k.Expect("bills", bustest.Key("o-7"), bustest.JSON(map[string]int{"total": 12}))
		k.Expect("bills", bustest.Key("o-7"), bustest.JSON(map[string]int{"total": 12}))
	})
	got = regexp.MustCompile(`(memory: publish "nowhere": ).*`).ReplaceAllString(got, "${1}…")
	require.Equal(t, `bustest: no message on "bills" with key "o-7", JSON {"total":12} within 50ms
5 on "bills":
  bills[0]@0 key "o-7" {source: billing} {"total":13}
    in its JSON .total is 13, want 12
  bills[0]@1 key "o-8" {source: billing} {"total":12}
    its key is "o-8"
  bills[0]@2 key "o-7" {source: billing} {"total":12}
    it was expected before
  bills[0]@3 {source: billing} 0x0001
    it has no key
  bills[0]@4 key "o-7" {"total":12}
    the test itself published it
elsewhere: 1 on "audit", 1 on "orders"
not published (1):
  memory: publish "nowhere": …
not acknowledged (1):
  orders[0]@0 hello to group "billing", attempt 1: no such; customer`, got)
}

func TestFailureIsBounded(t *testing.T) {
	t.Parallel()
	got := runInBubble(t, func(t testing.TB) {
		k := bustest.New(t, bustest.WithTopics("t"))
		for i := range 25 {
			m := message.NewMessage("u", fmt.Appendf(nil, "%d %0500d", i, 0))
			if err := k.Bus().Publish("t", m); err != nil {
				t.Errorf("%v", err)
			}
		}
		k.ExpectNoneYet("t", bustest.Matching("is there", func(bustest.Message) bool { return true }))
	})
	require.Contains(t, got, "bustest: expected no message on \"t\" with is there, got 25:\n  … 15 earlier\n  t[0]@15 15 000")
	require.Less(t, len(got), 4000)
}

func TestFailureListsDeliveries(t *testing.T) {
	t.Parallel()
	got := runInBubble(t, func(t testing.TB) {
		k := bustest.New(t, bustest.WithTopics("t"), bustest.WithTimeout(50*time.Millisecond))
		k.Consume("t", func(_ context.Context, d *bus.Delivery) error {
			if d.Attempt == 1 {
				return bus.RetryAfter(time.Millisecond, errors.New("not now"))
			}
			return nil
		}, bus.Group("g"))
		k.Publish("t", bustest.Payload("x"))
		k.ExpectDelivered("t", bustest.Redelivered(), bustest.Acknowledged())
		k.ExpectDelivered("t", bustest.Acknowledged(), bustest.ToGroup("other"))
	})
	require.Equal(t, `bustest: no delivery on "t" with acknowledged, to group "other" within 50ms
2 on "t":
  t[0]@0 x to group "g", attempt 1: retry: not now
    it was not acknowledged
  t[0]@0 x to group "g", attempt 2: acknowledged
    it was expected before`, got)
	got = runInBubble(t, func(t testing.TB) {
		k := bustest.New(t, bustest.WithTopics("t", "other"), bustest.WithTimeout(50*time.Millisecond))
		for _, topic := range []string{"t", "other"} {
			k.Consume(topic, func(context.Context, *bus.Delivery) error { return bus.RetryAfter(time.Hour, errors.New("not now")) }, bus.Group("g"))
			k.Publish(topic, bustest.Payload("x"))
			k.ExpectDelivered(topic)
		}
		k.ExpectDelivered("t")
	})
	require.Equal(t, `bustest: no delivery on "t" within 50ms
1 on "t":
  t[0]@0 x to group "g", attempt 1: retry: not now
    it was expected before
elsewhere: 1 on "other"
not acknowledged (1):
  other[0]@0 x to group "g", attempt 1: retry: not now`, got)
	got = runInBubble(t, func(t testing.TB) {
		k := bustest.New(t, bustest.WithTopics("t"))
		k.Consume("t", func(context.Context, *bus.Delivery) error { return nil }, bus.Group("g"))
		k.Publish("t", bustest.Payload("x"))
		k.ExpectNoneDelivered("t", bustest.ToGroup("g"))
	})
	require.Equal(t, "bustest: expected no delivery on \"t\" with to group \"g\", got 1:\n  t[0]@0 x to group \"g\", attempt 1: acknowledged", got)
}

// The kit cannot close a subscription whose handler ignores its context.
func TestHandlerThatDoesNotReturnFailsTheTest(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		got := runTest(func(t testing.TB) {
			k := bustest.New(t, bustest.WithTopics("t"))
			running := make(chan struct{})
			k.Consume("t", func(context.Context, *bus.Delivery) error {
				close(running)
				<-release
				return nil
			}, bus.Group("g"))
			k.Publish("t")
			<-running
		})
		close(release)
		require.Contains(t, got, "bustest: close: ")
		require.Contains(t, got, "handlers still run")
	})
}

func TestShortTimeoutDoesNotBoundClose(t *testing.T) {
	t.Parallel()
	require.Empty(t, runTest(func(t testing.TB) {
		k := bustest.New(t, bustest.WithTopics("t"), bustest.WithTimeout(time.Nanosecond), bustest.WithGoroutineCheck())
		if _, err := k.Bus().Consume(context.Background(), "t", echo(k.Bus(), "t"), bus.Group("g")); err != nil {
			t.Fatalf("%v", err)
		}
	}))
}

func TestRebalanceAndCrashRedeliverNothing(t *testing.T) {
	t.Parallel()
	k := bustest.New(t, bustest.WithTopics("t"), bustest.WithPartitions(2))
	ok := func(context.Context, *bus.Delivery) error { return nil }
	k.Consume("t", ok, bus.Group("g"))
	other := k.NewClient()
	other.Consume("t", ok, bus.Group("g"))
	for i := range 4 {
		k.Publish("t", bustest.Partition(int32(i%2)), bustest.Payload(fmt.Sprint(i)))
	}
	k.WaitIdle()
	k.Rebalance("g", "t")
	k.Publish("t", bustest.Partition(0), bustest.Payload("4"))
	k.WaitIdle()
	other.Crash()
	k.Publish("t", bustest.Partition(1), bustest.Payload("5"))
	k.ExpectLag("g", "t", 0)
	k.ExpectCommitted("g", "t", 0, 3)
	k.ExpectNoneDelivered("t", bustest.Redelivered())
	require.Len(t, k.Recorder().Deliveries("t"), 6)
}

func TestFaultsOfAKitAffectItsBusOnly(t *testing.T) {
	t.Parallel()
	k := bustest.New(t, bustest.WithTopics("in", "out"), bustest.WithSeed(7))
	k.Consume("in", echo(k.Bus(), "out"), bus.Group("g"), bus.Backoff(time.Millisecond, time.Millisecond))
	require.NoError(t, k.Faults().Inject(bustest.OnPublish("out", bustest.Nth(1, 2), bustest.Fail(bus.CodeUnavailable))))
	k.Publish("in", bustest.Payload("x"))
	k.Expect("out", bustest.Payload("x"))
	k.ExpectDelivered("in", bustest.FailedWith(bus.CodeUnavailable))
	require.Equal(t, 3, k.ExpectDelivered("in", bustest.Acknowledged()).Count)
	require.Len(t, k.Recorder().PublishFailures("out"), 2)

	k.Log().Disconnect(errors.New("the broker is unavailable"))
	k.WaitIdle()
	require.Equal(t, bus.CodeUnavailable, bus.CodeOf(k.Bus().Publish("out", message.NewMessage("u", nil))))
	k.Log().Connect()
	k.WaitIdle()
	k.Publish("in", bustest.Payload("y"))
	k.Expect("out", bustest.Payload("y"))
}
