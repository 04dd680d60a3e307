package consumer_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/trunkline/trunkline/bus"
	"github.com/trunkline/trunkline/bus/consumer"
	"github.com/trunkline/trunkline/bus/deadletter"
	"github.com/trunkline/trunkline/testing/bustest"
)

func byKey(n int) func(int) string { return func(i int) string { return fmt.Sprint("key-", i%n) } }

// A message that fails is retried in place: its key waits, other keys do not.
func TestRetryInPlaceBlocksOnlyItsKey(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, 1)
		r.publish(t, 0, 6, byKey(2))
		var j journal
		begun := time.Now()
		c := r.consumer(t, func(_ context.Context, d *bus.Delivery) error {
			j.add("%d", number(d))
			if number(d) == 0 && d.Attempt < 4 {
				return errTest
			}
			return nil
		}, bus.OrderByKey(), bus.Concurrency(8), consumer.WithAttempts(10), bus.Backoff(time.Minute, time.Hour))
		consuming(t, c)
		elapse(time.Second)
		require.ElementsMatch(t, []string{"0", "1", "3", "5"}, j.all(), "key-1 is not blocked")
		require.Zero(t, r.committed(0), "nothing after the unacknowledged message is committed")
		elapse(24 * time.Hour)
		require.Equal(t, []string{"0", "0", "0", "2", "4"}, j.all()[4:])
		require.GreaterOrEqual(t, time.Since(begun), 3*time.Minute)
		s := c.Stats()
		require.Equal(t, []uint64{6, 3, 3, 0}, []uint64{s.Handled, s.Failed, s.Retried, s.DeadLettered})
		require.EqualValues(t, 6, r.committed(0))
		require.EqualValues(t, 9, s.Calls)
	})
}

// letters collects the messages of a topic.
type letters struct {
	mu  sync.Mutex
	all []*bus.Delivery
}

func (l *letters) handle(_ context.Context, d *bus.Delivery) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.all = append(l.all, d)
	return nil
}

func (r *rig) letters(t *testing.T, topic string) *letters {
	t.Helper()
	l := &letters{}
	require.NoError(t, r.EnsureTopic(t.Context(), bus.TopicSpec{Name: topic, Partitions: 1}))
	_, err := r.Consume(context.Background(), topic, l.handle, bus.FromOldest())
	require.NoError(t, err)
	return l
}

// A message that has used up its attempts goes to the dead-letter topic with its key, headers
// and the timestamp of the original in a header.
func TestDeadLetterAfterTheLastAttempt(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, 1)
		dead := r.letters(t, "dead")
		at := time.Now().Add(-time.Hour).UTC()
		m := message.NewMessage("the-id", []byte("0"))
		m.Metadata.Set("color", "blue")
		bus.SetKey(m, "k")
		bus.SetTimestamp(m, at)
		require.NoError(t, r.Publish("t", m))
		r.publish(t, 1, 2, nil)
		var j journal
		c := r.consumer(t, func(_ context.Context, d *bus.Delivery) error {
			j.add("%d", number(d))
			switch number(d) {
			case 0:
				return errTest
			case 1:
				return bus.DeadLetter(errors.New("poison"))
			default:
				return nil
			}
		}, consumer.WithAttempts(3), bus.DeadLetterTopic("dead"))
		consuming(t, c)
		elapse(time.Hour)
		require.Equal(t, []string{"0", "0", "0", "1", "2"}, j.all())
		require.Len(t, dead.all, 2)
		first := dead.all[0]
		require.Equal(t, "the-id", first.UUID)
		require.Equal(t, "k", string(first.Key))
		require.Equal(t, "blue", first.Message().Metadata.Get("color"))
		require.Equal(t, at.UTC().Format(time.RFC3339Nano), first.Message().Metadata.Get(deadletter.TimestampHeader))
		require.Equal(t, []string{"t", "0", "0", "g", errTest.Error()}, []string{
			first.Message().Metadata.Get(deadletter.TopicHeader), first.Message().Metadata.Get(deadletter.PartitionHeader),
			first.Message().Metadata.Get(deadletter.OffsetHeader), first.Message().Metadata.Get(deadletter.GroupHeader), first.Message().Metadata.Get(deadletter.CauseHeader)})
		require.Equal(t, "poison", dead.all[1].Message().Metadata.Get(deadletter.CauseHeader))
		s := c.Stats()
		require.Equal(t, []uint64{1, 4, 2, 2}, []uint64{s.Handled, s.Failed, s.Retried, s.DeadLettered})
		require.EqualValues(t, 3, r.committed(0))
	})
}

// While the dead letter cannot be published, the original is not acknowledged.
func TestDeadLetterThatCannotBePublished(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, 1)
		dead := r.letters(t, "dead")
		require.NoError(t, r.faults.Inject(bustest.OnPublish("dead", bustest.Nth(1, 2), bustest.Fail(bus.CodeUnavailable))))
		r.publish(t, 0, 1, nil)
		c := r.consumer(t, func(context.Context, *bus.Delivery) error { return errTest },
			consumer.WithAttempts(1), bus.DeadLetterTopic("dead"))
		consuming(t, c)
		synctest.Wait()
		require.Zero(t, r.committed(0))
		require.Zero(t, c.Stats().DeadLettered)
		elapse(time.Hour)
		require.EqualValues(t, 1, r.committed(0))
		require.Len(t, dead.all, 1)
		require.EqualValues(t, 1, c.Stats().DeadLettered)
	})
}

// Without a dead-letter topic a message that has used up its attempts is blocked, and Stats
// counts it.
func TestBlockedMessagesAreCounted(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, 1)
		r.publish(t, 0, 3, nil)
		var mu sync.Mutex
		fail := true
		var j journal
		c := r.consumer(t, func(ctx context.Context, d *bus.Delivery) error {
			mu.Lock()
			defer mu.Unlock()
			if number(d) == 1 && fail {
				return errTest
			}
			return j.handle(ctx, d)
		}, consumer.WithAttempts(2), bus.Backoff(time.Second, time.Second))
		consuming(t, c)
		synctest.Wait()
		require.Zero(t, c.Stats().Blocked)
		elapse(time.Hour)
		require.EqualValues(t, 1, c.Stats().Blocked)
		require.EqualValues(t, 1, r.committed(0))
		stop(t, c)
		synctest.Wait()
		require.Zero(t, c.Stats().Blocked, "the partition is not assigned to this consumer")
		consuming(t, c)
		elapse(time.Hour)
		require.EqualValues(t, 1, c.Stats().Blocked)
		mu.Lock()
		fail = false
		mu.Unlock()
		elapse(time.Minute)
		require.Zero(t, c.Stats().Blocked)
		require.Equal(t, sequence(0, 3), j.all())
		require.EqualValues(t, 3, r.committed(0))
	})
}

func TestHandlerErrorsDecideWhatFollows(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, 1)
		r.publish(t, 0, 4, nil)
		errStop := errors.New("stopped by the test")
		begun := time.Now()
		var j journal
		c := r.consumer(t, func(_ context.Context, d *bus.Delivery) error {
			j.add("%v %d", time.Since(begun), number(d))
			switch {
			case number(d) == 0 && d.Attempt < 8:
				return bus.RetryAfter(time.Minute, nil) // more often than the attempts
			case number(d) == 1:
				return bus.Drop(errTest)
			case number(d) == 2:
				return bus.Stop(errStop)
			}
			return nil
		}, bus.DeadLetterTopic("dead"), consumer.WithAttempts(2))
		require.NoError(t, c.Start())
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		_, err := c.Wait(ctx, consumer.Stopped)
		require.NoError(t, err)
		require.ErrorIs(t, c.Err(), errStop)
		require.Equal(t, []string{"7m0s 0", "7m0s 1", "7m0s 2"}, j.all()[7:])
		s := c.Stats()
		require.Equal(t, []uint64{1, 0, 7, 1, 0}, []uint64{s.Handled, s.Failed, s.Retried, s.Dropped, s.DeadLettered})
		require.EqualValues(t, 2, r.committed(0), "the message that stopped the consumer is not acknowledged")
	})
}

// The context of a handler ends after the handler timeout, which counts as a failure.
func TestHandlerTimeoutIsAFailure(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, 1)
		dead := r.letters(t, "dead")
		r.publish(t, 0, 1, nil)
		c := r.consumer(t, func(ctx context.Context, d *bus.Delivery) error {
			<-d.Context.Done()
			assert.Equal(t, bus.CodeDeadlineExceeded, bus.CodeOf(context.Cause(ctx)))
			return ctx.Err()
		}, consumer.WithHandlerTimeout(time.Second), bus.DeadLetterTopic("dead"), consumer.WithAttempts(2))
		var called []consumer.HandlerCall
		var mu sync.Mutex
		remove := c.Observe(func(h consumer.HandlerCall) {
			mu.Lock()
			defer mu.Unlock()
			called = append(called, h)
		})
		consuming(t, c)
		elapse(time.Minute)
		remove()
		require.Len(t, dead.all, 1)
		require.Equal(t, "deadline_exceeded", dead.all[0].Message().Metadata.Get(deadletter.CodeHeader))
		require.Len(t, called, 2)
		require.Equal(t, time.Second, called[1].Duration)
		require.Equal(t, []any{"t", int32(0), 1, 2}, []any{called[1].Topic, called[1].Partition, called[1].Messages, called[1].Attempt})
		require.Equal(t, time.Second, c.Stats().Latency())
		require.Equal(t, time.Second, c.Stats().Longest)
	})
}

// A panic is a failure and is logged with its stack.
func TestPanicIsAFailure(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, 1)
		dead := r.letters(t, "dead")
		r.publish(t, 0, 2, nil)
		var text bytes.Buffer
		var j journal
		c := r.consumer(t, func(ctx context.Context, d *bus.Delivery) error {
			if number(d) == 0 {
				panic("boom")
			}
			return j.handle(ctx, d)
		}, bus.DeadLetterTopic("dead"), consumer.WithAttempts(1), consumer.WithLogger(slog.New(slog.NewTextHandler(&text, nil))))
		consuming(t, c)
		elapse(time.Minute)
		require.Equal(t, []string{"1"}, j.all())
		require.Len(t, dead.all, 1)
		require.Contains(t, dead.all[0].Message().Metadata.Get(deadletter.CauseHeader), "the handler panicked: boom")
		stop(t, c)
		require.Contains(t, text.String(), "policy_test.go")
	})
}

// A record that cannot be decoded goes to the dead-letter topic, and without one it stops the
// consumer.
func TestUndecodableRecord(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, 1)
		dead := r.letters(t, "dead")
		require.NoError(t, r.faults.Inject(bustest.OnFetch("t", bustest.Nth(2), bustest.Corrupt(errTest))))
		r.publish(t, 0, 3, nil)
		var j journal
		c := r.consumer(t, j.handle, bus.DeadLetterTopic("dead"))
		consuming(t, c)
		elapse(time.Minute)
		require.Equal(t, []string{"0", "2"}, j.all())
		require.Len(t, dead.all, 1)
		require.EqualValues(t, 1, c.Stats().DeadLettered)

		require.NoError(t, r.faults.Inject(bustest.OnFetch("t", bustest.Nth(1), bustest.Corrupt(errTest))))
		require.NoError(t, c.Shutdown(t.Context()))
		c = r.consumer(t, j.handle)
		require.NoError(t, c.Start())
		synctest.Wait()
		r.publish(t, 3, 1, nil)
		wait(t, c, consumer.Stopped)
		require.Equal(t, bus.CodeUndecodable, bus.CodeOf(c.Err()))
	})
}

// The failure policy applies to each message of a batch.
func TestFailedMessagesOfABatch(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, 1)
		dead := r.letters(t, "dead")
		r.publish(t, 0, 10, nil)
		var j journal
		c := r.batchConsumer(t, func(_ context.Context, ds []*bus.Delivery) error {
			var failed bus.BatchError
			for i, d := range ds {
				switch n := number(d); {
				case n == 3, n == 5 && d.Attempt < 2:
					failed.Add(i, errTest)
				case n == 4:
					failed.Add(i, bus.Drop(errTest))
				default:
					j.add("%s %d", d.Record.Topic, n)
				}
			}
			clear(ds) // the handler may change the slice
			return failed.Err()
		}, bus.BatchSize(10), bus.BatchAge(time.Second), consumer.WithAttempts(3), consumer.WithRetryTopics(time.Minute), bus.DeadLetterTopic("dead"))
		consuming(t, c)
		elapse(time.Hour)
		require.Equal(t, []string{"t 0", "t 1", "t 2", "t 6", "t 7", "t 8", "t 9", "t 5"}, j.all())
		require.Len(t, dead.all, 1)
		require.Equal(t, "3", string(dead.all[0].Payload))
		s := c.Stats()
		require.Equal(t, []uint64{8, 7, 5, 1, 1, 1}, []uint64{s.Handled, s.Failed, s.Retried, s.Postponed, s.Dropped, s.DeadLettered})
		require.EqualValues(t, 10, r.committed(0))
	})
}

// A batch that is not full is handled when it is old enough, and when the consumer stops.
func TestBatchIsHandledByAgeAndOnStop(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, 1)
		var j journal
		c := r.batchConsumer(t, j.handleBatch, bus.BatchSize(100), bus.BatchAge(10*time.Second))
		consuming(t, c)
		r.publish(t, 0, 3, nil)
		elapse(9 * time.Second)
		require.Empty(t, j.all())
		elapse(2 * time.Second)
		require.Equal(t, sequence(0, 3), j.all())
		r.publish(t, 3, 3, nil)
		time.Sleep(time.Second)
		stop(t, c)
		require.Equal(t, sequence(0, 6), j.all())
		require.EqualValues(t, 6, r.committed(0))
	})
}
