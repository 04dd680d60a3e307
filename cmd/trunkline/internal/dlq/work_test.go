package dlq_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/trunkline/trunkline/bus"
	"github.com/trunkline/trunkline/bus/deadletter"
	"github.com/trunkline/trunkline/cmd/trunkline/internal/dlq"
	"github.com/trunkline/trunkline/testing/bustest"
	"github.com/trunkline/trunkline/transport/memory"
)

const dead, group = "orders.dead", "trunkline.dlq"

// newBus returns a bus with dead letters in two partitions, from two topics in turn.
func newBus(t testing.TB, letters int, rules ...bustest.Rule) *bus.Bus {
	tr, err := memory.New()
	require.NoError(t, err)
	faults, err := bustest.NewFaults(tr, 1)
	require.NoError(t, err)
	b, err := bus.New(faults)
	require.NoError(t, err)
	for topic, partitions := range map[string]int32{"orders": 1, "payments": 1, dead: 2} {
		require.NoError(t, b.CreateTopic(t.Context(), bus.TopicSpec{Name: topic, Partitions: partitions}))
	}
	for i := range letters {
		m := message.NewMessage("", fmt.Append(nil, i))
		m.Metadata.Set(deadletter.TopicHeader, []string{"orders", "payments"}[i%2])
		bus.SetPartition(m, int32(i/2%2))
		require.NoError(t, b.Publish(dead, m))
	}
	require.NoError(t, faults.Inject(rules...))
	return b
}

// published returns the payloads in a topic.
func published(t testing.TB, b *bus.Bus, topic string) (payloads []string) {
	_, err := dlq.Scan(t.Context(), b, topic, time.Second, func(r *bus.Record) error {
		payloads = append(payloads, string(r.Payload))
		return nil
	})
	require.NoError(t, err)
	return payloads
}

func job(b *bus.Bus, verb dlq.Verb, s dlq.Selection) dlq.Job {
	return dlq.Job{Bus: b, Topic: dead, Group: group, Verb: verb, Selection: s, Quiet: time.Second, Each: func(*dlq.Letter, error) {}}
}

// Any sequence of jobs replays or drops each letter once, and leaves none in the end.
func TestEachLetterIsDoneOnceOverManyRuns(t *testing.T) {
	t.Parallel()
	type drawn struct {
		verb      dlq.Verb
		selection dlq.Selection
		limit     int
	}
	rapid.Check(t, func(rt *rapid.T) {
		letters := rapid.IntRange(1, 30).Draw(rt, "letters")
		var jobs []drawn
		for range rapid.IntRange(0, 4).Draw(rt, "runs") {
			s := dlq.Selection{Origin: rapid.SampledFrom([]string{"", "orders", "payments"}).Draw(rt, "origin")}
			if rapid.Bool().Draw(rt, "picks") {
				s.Places = map[dlq.Place]bool{}
				for range rapid.IntRange(1, 5).Draw(rt, "how many") {
					s.Places[dlq.Place{Partition: rapid.Int32Range(0, 1).Draw(rt, "partition"), Offset: rapid.Int64Range(0, 20).Draw(rt, "offset")}] = true
				}
			}
			verb := rapid.SampledFrom([]dlq.Verb{dlq.Replay, dlq.Drop, dlq.Look}).Draw(rt, "verb")
			jobs = append(jobs, drawn{verb, s, rapid.IntRange(0, 5).Draw(rt, "limit")})
		}
		jobs = append(jobs, drawn{verb: dlq.Replay})
		synctest.Test(t, func(t *testing.T) {
			b := newBus(t, letters)
			defer b.Close()
			want := map[string][]string{}
			for _, d := range jobs {
				j := job(b, d.verb, d.selection)
				j.Limit = d.limit
				j.Each = func(l *dlq.Letter, err error) {
					assert.NoError(t, err)
					if j.Verb == dlq.Replay {
						want[l.Origin] = append(want[l.Origin], string(l.Payload))
					}
				}
				_, err := j.Run(t.Context(), 10*time.Second)
				require.NoError(t, err)
			}
			for _, topic := range []string{"orders", "payments"} {
				got := published(t, b, topic)
				require.ElementsMatch(t, want[topic], got)
				slices.Sort(got)
				require.Len(t, slices.Compact(slices.Clone(got)), len(got), "each letter once")
			}
			s, err := job(b, dlq.Look, dlq.Selection{}).Run(t.Context(), 10*time.Second)
			require.NoError(t, err)
			require.Equal(t, dlq.Summary{}, s, "no letter is left")
		})
	})
}

func TestInterruptedJobRecordsWhatIsDone(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const many = 2000
		b := newBus(t, many)
		defer b.Close()
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		j := job(b, dlq.Replay, dlq.Selection{})
		count := 0
		j.Each = func(*dlq.Letter, error) {
			if count++; count == many/2 {
				cancel()
			}
		}
		s, err := j.Run(ctx, 10*time.Second)
		require.Equal(t, bus.CodeCanceled, bus.CodeOf(err))
		require.GreaterOrEqual(t, s.Done, many/2)
		require.Less(t, s.Done, many)
		rest, err := job(b, dlq.Replay, dlq.Selection{}).Run(t.Context(), 10*time.Second)
		require.NoError(t, err)
		require.Equal(t, many, s.Done+rest.Done)
		require.Len(t, append(published(t, b, "orders"), published(t, b, "payments")...), many, "each letter once")
	})
}

func TestFailedLetterStaysAndOthersContinue(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBus(t, 12, bustest.OnPublish("orders", bustest.Nth(2), bustest.Fail(bus.CodeTooLarge)))
		defer b.Close()
		var mu sync.Mutex
		var failed []string
		j := job(b, dlq.Replay, dlq.Selection{})
		j.Each = func(l *dlq.Letter, err error) {
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				failed = append(failed, string(l.Payload))
			}
		}
		s, err := j.Run(t.Context(), 10*time.Second)
		require.NoError(t, err)
		require.Equal(t, dlq.Summary{Done: 11, Failed: 1}, s)
		require.Len(t, failed, 1)
		s, err = job(b, dlq.Replay, dlq.Selection{}).Run(t.Context(), 10*time.Second)
		require.NoError(t, err)
		require.Equal(t, dlq.Summary{Done: 1}, s)
		require.Contains(t, published(t, b, "orders"), failed[0])
	})
}

// An error that every letter would get ends the job.
func TestUnavailableBrokerEndsTheJob(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBus(t, 1000, bustest.OnPublish("orders", bustest.Always(), bustest.Fail(bus.CodeUnavailable)))
		defer b.Close()
		s, err := job(b, dlq.Replay, dlq.Selection{Origin: "orders"}).Run(t.Context(), 10*time.Second)
		require.Equal(t, bus.CodeUnavailable, bus.CodeOf(err))
		require.Zero(t, s.Done)
		require.Less(t, s.Failed, 500)
	})
}

func TestParsePlaceAcceptsPartitionAndOffset(t *testing.T) {
	t.Parallel()
	p, ok := dlq.ParsePlace("3:17")
	require.True(t, ok)
	require.Equal(t, dlq.Place{Partition: 3, Offset: 17}, p)
	require.Equal(t, "3:17", p.String())
	for _, s := range []string{"", "3", ":", "3:", ":1", "-1:0", "0:-1", "x:1", "1:1:1", "99999999999:0"} {
		_, ok := dlq.ParsePlace(s)
		require.False(t, ok, s)
	}
}

func TestGetReturnsTheLetterAtAPlace(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBus(t, 3)
		defer b.Close()
		l, err := dlq.Get(t.Context(), b, dead, dlq.Place{Partition: 1, Offset: 0}, time.Second)
		require.NoError(t, err)
		require.Equal(t, "2", string(l.Payload))
		require.Equal(t, "orders", l.Origin)
		for _, p := range []dlq.Place{{Partition: 1, Offset: 1}, {Partition: 2, Offset: 0}, {Partition: 0, Offset: 99}} {
			_, err = dlq.Get(t.Context(), b, dead, p, time.Second)
			require.Equal(t, bus.CodeNotFound, bus.CodeOf(err), p)
		}
		_, err = dlq.Get(t.Context(), b, "no-such-topic", dlq.Place{}, time.Second)
		require.Equal(t, bus.CodeNotFound, bus.CodeOf(err))
		ended, cancel := context.WithCancel(t.Context())
		cancel()
		_, err = dlq.Get(ended, b, dead, dlq.Place{}, time.Second)
		require.ErrorIs(t, err, context.Canceled)
	})
}

func TestScanEndsWithEach(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBus(t, 10)
		defer b.Close()
		broken := errors.New("broken")
		_, err := dlq.Scan(t.Context(), b, dead, time.Second, func(*bus.Record) error { return broken })
		require.ErrorIs(t, err, broken)
		count := 0
		_, err = dlq.Scan(t.Context(), b, dead, time.Second, func(*bus.Record) error {
			if count++; count == 3 {
				return dlq.ErrEnough
			}
			return nil
		})
		require.NoError(t, err)
		require.Equal(t, 3, count)
		ends, err := dlq.Scan(t.Context(), b, "orders", time.Second, func(*bus.Record) error { return nil })
		require.NoError(t, err)
		require.Empty(t, ends)
	})
}
