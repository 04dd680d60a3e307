package bus_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/trunkline/trunkline/bus"
	"github.com/trunkline/trunkline/bus/deadletter"
	"github.com/trunkline/trunkline/bus/driver"
	"github.com/trunkline/trunkline/bus/hook"
)

type counter struct {
	mu sync.Mutex
	n  int
}

func (c *counter) add() { c.mu.Lock(); c.n++; c.mu.Unlock() }

func (c *counter) count() int { c.mu.Lock(); defer c.mu.Unlock(); return c.n }

// journal is a list of lines that handlers and hooks add, in order.
type journal struct {
	mu    sync.Mutex
	lines []string
}

func (j *journal) add(format string, args ...any) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.lines = append(j.lines, fmt.Sprintf(format, args...))
}

func (j *journal) all() []string { j.mu.Lock(); defer j.mu.Unlock(); return slices.Clone(j.lines) }

// consume subscribes h to "t" with one claim of p, in a bubble.
func consume(t *testing.T, s *script, b *bus.Bus, p *scriptPartition, h bus.Handler, opts ...bus.SubscribeOption) *bus.Subscription {
	t.Helper()
	sub, err := b.Consume(t.Context(), "t", h, opts...)
	require.NoError(t, err)
	s.session.events <- driver.Event{Assigned: true, Added: []driver.Partition{p}}
	require.NoError(t, sub.Ready(t.Context()))
	return sub
}

func TestOnlyTheAcknowledgedPrefixIsCommitted(t *testing.T) {
	t.Parallel()
	// Handlers return in any order, with or without an error. A commit never covers an
	// unacknowledged record, and in the end everything is committed.
	rapid.Check(t, func(rt *rapid.T) {
		n := rapid.IntRange(1, 40).Draw(rt, "records")
		window := rapid.IntRange(1, 16).Draw(rt, "window")
		ahead := rapid.IntRange(1, 16).Draw(rt, "ahead")
		keys := rapid.IntRange(1, 8).Draw(rt, "keys")
		gap := rapid.IntRange(1, 3).Draw(rt, "gap")
		byKey := rapid.Bool().Draw(rt, "by key")
		naks := rapid.SliceOfN(rapid.IntRange(0, 3), n, n).Draw(rt, "nacks")
		naps := rapid.SliceOfN(rapid.IntRange(0, 50), n, n).Draw(rt, "naps")
		synctest.Test(t, func(t *testing.T) {
			s, p := newScript(), newScriptPartition()
			recs := records(0, n, func(i int) string { return fmt.Sprint(i % keys) })
			for i := range recs {
				recs[i].Offset = int64(5 + i*gap) // offsets have gaps
			}
			p.records <- recs
			b := s.bus(t)
			var mu sync.Mutex
			acked := map[int64]bool{}
			last := map[string]int64{}
			running, most := 0, 0
			opts := []bus.SubscribeOption{bus.Group("g"), bus.Window(window), bus.WindowAhead(ahead), bus.Unordered()}
			if byKey {
				opts = append(opts, bus.OrderByKey())
			}
			sub := consume(t, s, b, p, func(ctx context.Context, d *bus.Delivery) error {
				i := int(d.Record.Offset-5) / gap
				mu.Lock()
				running++
				most = max(most, running)
				if byKey {
					assert.LessOrEqual(t, last[string(d.Record.Key)], d.Record.Offset, "order by key")
					last[string(d.Record.Key)] = d.Record.Offset
				}
				mu.Unlock()
				time.Sleep(time.Duration(naps[i]) * time.Millisecond)
				mu.Lock()
				defer mu.Unlock()
				running--
				if d.Attempt <= naks[i] {
					return errors.New("not yet")
				}
				assert.False(t, acked[d.Record.Offset], "acknowledged records are not delivered again")
				acked[d.Record.Offset] = true
				// Everything below the committed offset is acknowledged.
				for _, r := range recs {
					if r.Offset < p.last() {
						assert.True(t, acked[r.Offset], "offset %d is below the committed offset %d", r.Offset, p.last())
					}
				}
				return nil
			}, opts...)
			time.Sleep(time.Hour)
			mu.Lock()
			require.Len(t, acked, n)
			require.LessOrEqual(t, most, window)
			mu.Unlock()
			require.Equal(t, recs[n-1].Offset+1, p.last())
			require.True(t, slices.IsSorted(p.committed()), "committed offsets never decrease")
			require.NoError(t, sub.Shutdown(t.Context()))
			require.NoError(t, b.Close())
		})
	})
}

func TestBothBoundsOfTheWindowStopThePartition(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name          string
		window, ahead int
		poison        func(i int) bool // reports whether the handler of offset i always fails
		begun         int              // the number of records whose handler began
	}{
		{"unacknowledged", 8, 100, func(int) bool { return true }, 8},
		{"acknowledged ahead", 8, 20, func(i int) bool { return i == 0 }, 21},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				s, p := newScript(), newScriptPartition(records(0, 200, func(i int) string { return fmt.Sprint(i) })...)
				b := s.bus(t)
				var mu sync.Mutex
				begun := map[int64]bool{}
				sub := consume(t, s, b, p, func(ctx context.Context, d *bus.Delivery) error {
					mu.Lock()
					begun[d.Record.Offset] = true
					mu.Unlock()
					if c.poison(int(d.Record.Offset)) {
						return errors.New("poison")
					}
					return nil
				}, bus.OrderByKey(), bus.Window(c.window), bus.WindowAhead(c.ahead))
				time.Sleep(time.Hour)
				mu.Lock()
				require.Len(t, begun, c.begun)
				mu.Unlock()
				require.LessOrEqual(t, p.last(), int64(0), "no commit covers an unacknowledged message")
				require.NoError(t, sub.Shutdown(t.Context()))
				require.NoError(t, b.Close())
			})
		})
	}
}

func TestErrorBlocksOnlyWhatIsOrderedAfterIt(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		order bus.SubscribeOption
		want  []string
	}{
		{bus.OrderByPartition(), []string{"0/1", "0/2", "1/1", "2/1", "3/1"}},
		{bus.OrderByKey(), []string{"0/1", "1/1", "3/1", "0/2", "2/1"}}, // 0 and 2 share a key
	} {
		synctest.Test(t, func(t *testing.T) {
			s, p := newScript(), newScriptPartition(records(0, 4, func(i int) string { return []string{"a", "b", "a", "c"}[i] })...)
			b := s.bus(t)
			var j journal
			sub := consume(t, s, b, p, func(ctx context.Context, d *bus.Delivery) error {
				j.add("%d/%d", d.Record.Offset, d.Attempt)
				if d.Record.Offset == 0 && d.Attempt == 1 {
					return errors.New("no")
				}
				return nil
			}, c.order)
			time.Sleep(time.Minute)
			got := j.all()
			if len(c.want) == len(got) && c.want[1] == "1/1" { // by key: the first three run concurrently, so sort them
				slices.Sort(got[:3])
			}
			require.Equal(t, c.want, got)
			require.Equal(t, int64(4), p.last())
			require.NoError(t, sub.Shutdown(t.Context()))
			require.NoError(t, b.Close())
		})
	}
}

func TestBackoffDoublesWithJitterAndRetryOverridesIt(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s, p := newScript(), newScriptPartition(records(0, 1, nil)...)
		b := s.bus(t)
		var at []time.Time
		sub := consume(t, s, b, p, func(ctx context.Context, d *bus.Delivery) error {
			at = append(at, time.Now())
			switch d.Attempt {
			case 5:
				return bus.RetryAfter(42*time.Second, errors.New("later"))
			case 6:
				return nil
			}
			return errors.New("no")
		}, bus.Backoff(time.Second, 4*time.Second))
		time.Sleep(time.Hour)
		require.NoError(t, sub.Shutdown(t.Context()))
		require.Len(t, at, 6)
		for i, most := range []time.Duration{1, 2, 4, 4} {
			d := at[i+1].Sub(at[i])
			require.GreaterOrEqual(t, d, most*time.Second/2)
			require.LessOrEqual(t, d, most*time.Second)
		}
		require.Equal(t, 42*time.Second, at[5].Sub(at[4]))
		require.NoError(t, b.Close())
	})
}

func TestDropAcknowledgesAndStopEndsTheSubscription(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s, p := newScript(), newScriptPartition()
		b := s.bus(t)
		enough := errors.New("enough")
		sub := consume(t, s, b, p, func(ctx context.Context, d *bus.Delivery) error {
			if d.Record.Offset == 0 {
				return fmt.Errorf("wrapped: %w", bus.Drop(errors.New("not for us")))
			}
			return bus.Stop(enough)
		}, bus.Group("g"))
		p.records <- records(0, 3, nil) // after Ready, because they end the subscription
		<-sub.Done()
		require.ErrorIs(t, sub.Err(), enough)
		require.ErrorIs(t, sub.Ready(t.Context()), enough)
		require.Equal(t, []int64{1}, p.committed(), "Drop acknowledges the message, Stop does not")
		<-p.released
		require.True(t, s.session.closed)
		require.NoError(t, b.Close())
	})
}

func TestDeadLetterIsAcknowledgedBeforeTheOriginal(t *testing.T) {
	t.Parallel()
	for _, undecodable := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			s := newScript()
			rec := driver.Record{Topic: "t", Offset: 9, Key: []byte("k"), Payload: []byte("p"), Headers: []driver.Header{{Key: "h", Value: "v"}}}
			if undecodable {
				rec.DecodeErr = errors.New("no message")
			}
			p := newScriptPartition(rec)
			var dead []driver.Outgoing
			handled := 0
			fail := true
			s.publish = func(batch []driver.Outgoing) {
				if fail {
					fail = false
					batch[0].Complete(driver.Failed(&bus.Error{Code: bus.CodeUnavailable, Op: "publish"}))
					return
				}
				dead = append(dead, kept(batch)...)
				batch[0].Complete(driver.Outcome{})
			}
			b := s.bus(t)
			sub := consume(t, s, b, p, func(context.Context, *bus.Delivery) error {
				assert.False(t, undecodable, "the handler is not called for a record that cannot be decoded")
				handled++
				return bus.DeadLetter(errors.New("can't"))
			}, bus.Group("g"), bus.DeadLetterTopic("dead"))
			synctest.Wait()
			require.Empty(t, p.committed(), "the dead letter is not acknowledged yet")
			time.Sleep(time.Minute)
			require.Equal(t, []int64{10}, p.committed())
			require.Len(t, dead, 1)
			require.LessOrEqual(t, handled, 1, "the handler is not called again after the dead letter could not be published")
			require.True(t, dead[0].Timestamp.IsZero(), "a dead letter has the time of its publishing")
			require.Equal(t, "dead", dead[0].Topic)
			require.Equal(t, "k", string(dead[0].Key))
			require.Equal(t, "p", string(dead[0].Payload))
			require.Equal(t, "v", header(&dead[0], "h"))
			require.Equal(t, "t", header(&dead[0], deadletter.TopicHeader))
			require.Equal(t, "9", header(&dead[0], deadletter.OffsetHeader))
			require.Equal(t, "g", header(&dead[0], deadletter.GroupHeader))
			if undecodable {
				require.Equal(t, "undecodable", header(&dead[0], deadletter.CodeHeader))
				require.Contains(t, header(&dead[0], deadletter.CauseHeader), "no message")
			} else {
				require.Equal(t, "can't", header(&dead[0], deadletter.CauseHeader))
			}
			require.NoError(t, sub.Shutdown(t.Context()))
			require.NoError(t, b.Close())
		})
	}
}

func TestUndecodableWithoutDeadLetterTopicEndsTheSubscription(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newScript()
		bad := errors.New("not a message")
		recs := records(0, 2, nil)
		recs[1].DecodeErr = bad
		p := newScriptPartition()
		b := s.bus(t)
		sub := consume(t, s, b, p, func(context.Context, *bus.Delivery) error { return nil }, bus.Group("g"))
		p.records <- recs // after Ready, because they end the subscription
		<-sub.Done()
		require.Equal(t, bus.CodeUndecodable, bus.CodeOf(sub.Err()))
		require.ErrorIs(t, sub.Err(), bad)
		require.Equal(t, int64(1), p.last(), "the undecodable record is not skipped")
		require.NoError(t, b.Close())
	})
}

func TestPanicOfAHandlerIsAnError(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s, p := newScript(), newScriptPartition(records(0, 1, nil)...)
		seen := &deliveries{}
		b := s.bus(t, bus.WithHooks(seen))
		sub := consume(t, s, b, p, func(_ context.Context, d *bus.Delivery) error {
			if d.Attempt == 1 {
				panic("oops")
			}
			return nil
		})
		time.Sleep(time.Minute)
		require.NoError(t, sub.Shutdown(t.Context()))
		require.NoError(t, b.Close())
		require.Len(t, seen.events, 2)
		require.Equal(t, bus.CodeInternal, bus.CodeOf(seen.events[0].Err))
		require.NoError(t, seen.events[1].Err)
	})
}

func TestRevokeEndsHandlersThenCommitsThenReleases(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s, p := newScript(), newScriptPartition(records(0, 3, func(i int) string { return fmt.Sprint(i) })...)
		b := s.bus(t)
		taken := &bus.Error{Code: bus.CodeRevoked, Op: "consume", Topic: "t"}
		causes := make(chan error, 3)
		sub := consume(t, s, b, p, func(ctx context.Context, d *bus.Delivery) error {
			if d.Record.Offset == 0 {
				return nil
			}
			<-ctx.Done()
			assert.Empty(t, p.released, "the partition is not released while a handler runs")
			time.Sleep(time.Second) // the handler returns late
			causes <- context.Cause(ctx)
			if d.Record.Offset == 1 {
				return nil // the handler finished although its context ended
			}
			return ctx.Err()
		}, bus.Group("g"), bus.OrderByKey(), bus.CommitInterval(time.Hour))
		synctest.Wait()
		require.Empty(t, p.committed(), "the commit interval has not passed")
		p.revoke(taken)
		<-p.released
		require.Equal(t, []int64{2}, p.committed())
		require.ErrorIs(t, <-causes, taken)
		require.ErrorIs(t, <-causes, taken)
		// The session continues, and gets the partition again.
		p2 := newScriptPartition(records(2, 1, nil)...)
		s.session.events <- driver.Event{Assigned: true, Added: []driver.Partition{p2}}
		synctest.Wait()
		select {
		case <-sub.Done():
			t.Fatal("the subscription ended when a partition was revoked")
		default:
		}
		p2.revoke(taken)
		<-p2.released
		<-causes
		require.NoError(t, sub.Shutdown(t.Context()))
		require.NoError(t, b.Close())
	})
}

func TestShutdownWaitsForHandlersAndCommits(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s, p := newScript(), newScriptPartition(records(0, 10, nil)...)
		b := s.bus(t)
		var handled counter
		sub := consume(t, s, b, p, func(ctx context.Context, d *bus.Delivery) error {
			time.Sleep(time.Second)
			assert.NoError(t, ctx.Err(), "a drain does not end the context")
			assert.NoError(t, b.Publish("other", msg("x")), "a handler may publish while the bus drains")
			handled.add()
			return nil
		}, bus.Group("g"))
		time.Sleep(1500 * time.Millisecond)
		begun := time.Now()
		require.NoError(t, b.Close())
		require.Equal(t, 500*time.Millisecond, time.Since(begun))
		require.Equal(t, 2, handled.count(), "the running handler finished, and no other began")
		require.Equal(t, int64(2), p.last())
		require.NoError(t, sub.Err())
		require.True(t, s.closed)
		require.Equal(t, bus.CodeClosed, bus.CodeOf(sub.Ready(t.Context())))
		_, err := b.Consume(t.Context(), "t", func(context.Context, *bus.Delivery) error { return nil })
		require.Equal(t, bus.CodeClosed, bus.CodeOf(err))
	})
}

func TestShutdownIsBoundedByItsContext(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s, p := newScript(), newScriptPartition(records(0, 1, nil)...)
		b := s.bus(t)
		release := make(chan struct{})
		sub := consume(t, s, b, p, func(context.Context, *bus.Delivery) error { <-release; return nil })
		synctest.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		err := sub.Shutdown(ctx)
		require.Equal(t, bus.CodeDeadlineExceeded, bus.CodeOf(err))
		select {
		case <-sub.Done():
			t.Fatal("a handler still runs")
		default:
		}
		close(release)
		<-sub.Done()
		require.NoError(t, b.Close())
	})
}

func TestShutdownAfterTheEndReturnsNil(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newScript()
		b := s.bus(t)
		sub := consume(t, s, b, newScriptPartition(), func(context.Context, *bus.Delivery) error { return nil })
		require.NoError(t, sub.Shutdown(t.Context()))
		ended, cancel := context.WithCancel(t.Context())
		cancel()
		for range 50 { // repeat: a select between Done and an ended context would choose at random
			require.NoError(t, sub.Shutdown(ended))
		}
		require.NoError(t, b.Close())
	})
}

func TestContextOfConsumeEndsTheSubscriptionAtOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s, p := newScript(), newScriptPartition(records(0, 1, nil)...)
		b := s.bus(t)
		ctx, cancel := context.WithCancel(t.Context())
		sub, err := b.Consume(ctx, "t", func(ctx context.Context, _ *bus.Delivery) error { <-ctx.Done(); return ctx.Err() })
		require.NoError(t, err)
		s.session.events <- driver.Event{Assigned: true, Added: []driver.Partition{p}}
		synctest.Wait()
		cancel()
		<-sub.Done()
		require.Equal(t, bus.CodeCanceled, bus.CodeOf(sub.Err()))
		require.Empty(t, p.committed())
		require.NoError(t, b.Close())
	})
}

func TestAssignmentIsReportedAsItChanges(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newScript()
		seen := &sessions{}
		b := s.bus(t, bus.WithHooks(seen))
		sub, err := b.Consume(t.Context(), "t", func(context.Context, *bus.Delivery) error { return nil }, bus.Group("g"))
		require.NoError(t, err)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		require.Equal(t, bus.CodeDeadlineExceeded, bus.CodeOf(sub.Ready(ctx)))
		s.session.events <- driver.Event{Assigned: true}
		require.NoError(t, sub.Ready(t.Context()), "a member without partitions is ready too")
		lost := errors.New("the broker is gone")
		s.session.events <- driver.Event{Cause: lost}
		synctest.Wait()
		ok, cause := sub.Assigned()
		require.False(t, ok)
		require.ErrorIs(t, cause, lost)
		ctx, cancel = context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		require.ErrorIs(t, sub.Ready(ctx), lost, "the error says why the subscription is not ready")
		synctest.Wait()
		rejected := &bus.Error{Code: bus.CodeUnauthenticated, Op: "connect"}
		s.session.events <- driver.Event{Cause: rejected}
		synctest.Wait()
		require.Equal(t, bus.CodeUnauthenticated, bus.CodeOf(sub.Ready(t.Context())), "Ready returns the error at once")
		s.session.events <- driver.Event{Assigned: true}
		synctest.Wait()
		require.NoError(t, sub.Ready(t.Context()))
		s.session.end = &bus.Error{Code: bus.CodeNotFound, Op: "consume", Topic: "t"}
		close(s.session.events)
		<-sub.Done()
		require.Equal(t, bus.CodeNotFound, bus.CodeOf(sub.Err()))
		var states []string
		for _, e := range seen.events {
			states = append(states, fmt.Sprintf("%t %t", e.Assigned, e.Ended))
		}
		require.Equal(t, []string{"true false", "false false", "false false", "true false", "false true"}, states)
		require.NoError(t, b.Close())
	})
}

func TestCommitsAreGatheredAndRepeated(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newScript()
		p := newScriptPartition(records(0, 100, nil)...)
		p.commitErr = &bus.Error{Code: bus.CodeUnavailable, Op: "commit"}
		b := s.bus(t)
		sub := consume(t, s, b, p, func(context.Context, *bus.Delivery) error { return nil }, bus.Group("g"), bus.CommitInterval(time.Second))
		time.Sleep(5 * time.Second)
		require.Empty(t, p.committed())
		p.mu.Lock()
		p.commitErr = nil
		p.mu.Unlock()
		time.Sleep(2 * time.Second)
		require.Equal(t, []int64{100}, p.committed(), "one commit for a hundred acknowledgements")
		require.NoError(t, sub.Shutdown(t.Context()))
		require.NoError(t, b.Close())
	})
}

func TestConcurrencyBoundsTheWholeSubscription(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newScript()
		p1, p2 := newScriptPartition(records(0, 50, nil)...), newScriptPartition(records(0, 50, nil)...)
		b := s.bus(t)
		var mu sync.Mutex
		running, most := 0, 0
		sub := consume(t, s, b, p1, func(context.Context, *bus.Delivery) error {
			mu.Lock()
			running++
			most = max(most, running)
			mu.Unlock()
			time.Sleep(time.Millisecond)
			mu.Lock()
			running--
			mu.Unlock()
			return nil
		}, bus.Unordered(), bus.Concurrency(3))
		s.session.events <- driver.Event{Assigned: true, Added: []driver.Partition{p2}}
		time.Sleep(time.Minute)
		require.NoError(t, sub.Shutdown(t.Context()))
		require.NoError(t, b.Close())
		require.Equal(t, 3, most)
		require.Equal(t, int64(50), p1.last())
		require.Equal(t, int64(50), p2.last())
	})
}

type deliveries struct{ events []hook.DeliveryEvent }

func (d *deliveries) OnDelivery(e hook.DeliveryEvent) { d.events = append(d.events, e) }

type sessions struct{ events []hook.SessionEvent }

func (s *sessions) OnSession(e hook.SessionEvent) { s.events = append(s.events, e) }
