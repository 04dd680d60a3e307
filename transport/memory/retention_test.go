package memory_test

import (
	"context"
	"fmt"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/trunkline/trunkline/bus/driver"
	"github.com/trunkline/trunkline/transport/memory"
)

// publishing publishes in the background. The returned channel receives the outcome.
func publishing(ctx context.Context, tr *memory.Transport, payload string, opts ...outOption) outcomes {
	sink := make(outcomes, 1)
	go tr.Publish([]driver.Outgoing{outgoing(ctx, sink, payload, opts...)})
	return sink
}

func TestOldestRecordsAreDroppedWithoutSubscribers(t *testing.T) {
	t.Parallel()
	tr := newTransport(t, memory.WithMaxRecords(3))
	createTopic(t, tr, 1)
	for i := range 10 {
		mustPublish(t, tr, fmt.Sprint(i))
	}
	oldest, end, err := tr.Log().Offsets("t", 0)
	require.NoError(t, err)
	require.EqualValues(t, 7, oldest)
	require.EqualValues(t, 10, end)
	require.Equal(t, []string{"7", "8", "9"}, payloads(fetch(t, assigned(t, subscribe(t, tr, driver.Subscription{}))[0])))
}

func TestMaxBytesDropsOldestRecords(t *testing.T) {
	t.Parallel()
	tr := newTransport(t, memory.WithMaxBytes(10))
	require.Equal(t, 10, tr.Capabilities().MaxMessageBytes)
	createTopic(t, tr, 1)
	for _, m := range []string{"aaaa", "bbbb", "cc", "dddddddd"} {
		mustPublish(t, tr, m)
	}
	require.Equal(t, []string{"cc", "dddddddd"}, payloads(fetch(t, assigned(t, subscribe(t, tr, driver.Subscription{}))[0])))
}

func TestPublishWaitsForConnectedSubscriber(t *testing.T) {
	t.Parallel()
	for name, group := range map[string]string{"group": "g", "reader": ""} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				tr := newTransport(t, memory.WithMaxRecords(2))
				createTopic(t, tr, 1)
				p := assigned(t, subscribe(t, tr, driver.Subscription{Group: group, MaxFetch: 1}))[0]
				for _, m := range []string{"a", "b"} {
					mustPublish(t, tr, m)
				}
				var waiting []outcomes
				for _, m := range []string{"c", "d"} {
					waiting = append(waiting, publishing(t.Context(), tr, m))
					synctest.Wait()
				}
				pass := func(want string) {
					records := fetch(t, p)
					require.Equal(t, []string{want}, payloads(records))
					if group != "" {
						synctest.Wait()
					}
					require.NoError(t, p.Commit(t.Context(), records[0].Offset+1, ""))
					synctest.Wait()
				}
				require.Empty(t, waiting[0])
				pass("a")
				require.EqualValues(t, 2, (<-waiting[0]).Offset, "publishers append in order of arrival")
				require.Empty(t, waiting[1])
				pass("b")
				require.EqualValues(t, 3, (<-waiting[1]).Offset)
			})
		})
	}
}

func TestWaitForSpaceEnds(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		end  func(t *testing.T, tr *memory.Transport, s driver.Session, cancel func())
		want driver.Code // Unknown if the message is published
	}{
		"deadline":        {func(*testing.T, *memory.Transport, driver.Session, func()) {}, driver.CodeDeadlineExceeded},
		"cancel":          {func(_ *testing.T, _ *memory.Transport, _ driver.Session, cancel func()) { cancel() }, driver.CodeCanceled},
		"disconnect":      {func(_ *testing.T, tr *memory.Transport, _ driver.Session, _ func()) { tr.Disconnect(errCable) }, driver.CodeUnavailable},
		"log disconnects": {func(_ *testing.T, tr *memory.Transport, _ driver.Session, _ func()) { tr.Log().Disconnect(errCable) }, driver.CodeUnavailable},
		"close": {func(t *testing.T, tr *memory.Transport, _ driver.Session, _ func()) {
			require.NoError(t, tr.Close(t.Context()))
		}, driver.CodeClosed},
		"topic deleted": {func(t *testing.T, tr *memory.Transport, _ driver.Session, _ func()) {
			require.NoError(t, tr.DeleteTopic(t.Context(), "t"))
		}, driver.CodeNotFound},
		"subscriber closes": {func(t *testing.T, _ *memory.Transport, s driver.Session, _ func()) {
			require.NoError(t, s.Close(t.Context()))
		}, driver.CodeUnknown},
	} {
		for _, group := range []string{"g", ""} {
			t.Run(strings.TrimSpace(name+" "+group), func(t *testing.T) {
				t.Parallel()
				synctest.Test(t, func(t *testing.T) {
					tr := newTransport(t, memory.WithMaxRecords(1))
					createTopic(t, tr, 2)
					reading := newTransport(t, memory.WithLog(tr.Log()))
					s := subscribe(t, reading, driver.Subscription{Group: group})
					assigned(t, s)
					mustPublish(t, tr, "a", to(0))
					ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
					defer cancel()
					first := publishing(ctx, tr, "b", to(0))
					synctest.Wait()
					second := publishing(ctx, tr, "c", to(0))
					synctest.Wait()
					require.Empty(t, first)
					mustPublish(t, tr, "other partitions accept messages", to(1))
					tt.end(t, tr, s, cancel)
					for _, r := range []result{<-first, <-second} {
						if tt.want == driver.CodeUnknown {
							require.NoError(t, r.Err)
						} else {
							requireCode(t, tt.want, r.Err)
						}
					}
				})
			})
		}
	}
}

func TestFullPartitionDoesNotDelayOthersInBatch(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		tr := newTransport(t, memory.WithMaxRecords(1))
		createTopic(t, tr, 3)
		claims := assigned(t, subscribe(t, tr, driver.Subscription{MaxFetch: 1}))
		sink := make(outcomes, 8)
		var batch []driver.Outgoing
		for i, p := range []int32{0, 0, 1, 1, 2, 0} {
			o := outgoing(t.Context(), sink, fmt.Sprint(i), to(p))
			o.Index = i
			batch = append(batch, o)
		}
		returned := make(chan struct{})
		go func() { tr.Publish(batch); close(returned) }()
		for _, want := range []int{0, 2, 4} {
			require.Equal(t, want, (<-sink).index)
		}
		synctest.Wait()
		require.Empty(t, sink)
		fetch(t, claims[1])
		require.Equal(t, 3, (<-sink).index, "partitions wait independently")
		fetch(t, claims[0])
		require.Equal(t, 1, (<-sink).index)
		fetch(t, claims[0])
		require.Equal(t, 5, (<-sink).index)
		<-returned
	})
}

func TestDisconnectedSubscribersDoNotRetainRecords(t *testing.T) {
	t.Parallel()
	tr := newTransport(t, memory.WithMaxRecords(2))
	other := sameLog(t, tr)
	createTopic(t, tr, 1)
	member, reader := inGroup(t, other), subscribe(t, other, driver.Subscription{})
	inherited, kept := assigned(t, member)[0], assigned(t, reader)[0]
	other.Disconnect(nil)
	inherited.Release()
	for i := range 5 {
		mustPublish(t, tr, fmt.Sprint(i))
	}
	other.Connect()
	require.Equal(t, []string{"3", "4"}, payloads(fetch(t, kept)), "the session continues at the oldest record")
	require.Error(t, lostAssignment(t, member))
	require.Equal(t, []string{"3", "4"}, payloads(fetch(t, assigned(t, member)[0])))
}

func TestLateSubscriberRetainsRecords(t *testing.T) {
	t.Parallel()
	tr := newTransport(t, memory.WithMaxRecords(3))
	createTopic(t, tr, 1)
	for i := range 4 { // the partition is full, and one record was dropped because there was no subscriber
		mustPublish(t, tr, fmt.Sprint(i))
	}
	p := assigned(t, subscribe(t, tr, driver.Subscription{}))[0]
	ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	requireCode(t, driver.CodeDeadlineExceeded, publish(ctx, tr, "4").Err)
	require.Equal(t, []string{"1", "2", "3"}, payloads(fetch(t, p)))
	mustPublish(t, tr, "4")
}

func TestMaxAgeDropsRecords(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		tr := newTransport(t, memory.WithMaxAge(time.Minute), memory.WithMaxRecords(2))
		createTopic(t, tr, 1)
		p := assigned(t, inGroup(t, tr))[0]
		mustPublish(t, tr, "a")
		time.Sleep(30 * time.Second)
		mustPublish(t, tr, "b")
		begun := time.Now()
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		require.NoError(t, publish(ctx, tr, "c").Err, "an expired record makes space")
		require.InDelta(t, 30*time.Second, time.Since(begun), float64(time.Millisecond))
		require.Equal(t, []string{"b", "c"}, payloads(fetch(t, p)))
		time.Sleep(2 * time.Minute)
		oldest, end, err := tr.Log().Offsets("t", 0)
		require.NoError(t, err)
		require.EqualValues(t, 3, oldest)
		require.EqualValues(t, 3, end)
	})
}

func TestHeapDoesNotGrow(t *testing.T) { //nolint:paralleltest // measures the heap
	tr := newTransport(t, memory.WithMaxRecords(1000))
	createTopic(t, tr, 1)
	p := assigned(t, inGroup(t, tr))[0]
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	batch := make([]driver.Outgoing, 100)
	for i := range batch {
		batch[i] = outgoing(ctx, discard{}, strings.Repeat("x", 128))
	}
	round := func(messages int) uint64 {
		for range messages / len(batch) {
			tr.Publish(batch)
			records := fetch(t, p)
			require.NoError(t, p.Commit(ctx, records[len(records)-1].Offset+1, ""))
		}
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	before := round(10_000)
	after := round(1_000_000)
	require.Less(t, after, before+8<<20, "the heap grew from %d to %d", before, after)
}
