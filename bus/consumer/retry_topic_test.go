package consumer_test

import (
	"context"
	"strings"
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

// A message in a retry topic does not block others, is handled after the delay, and its dead
// letter names the original.
func TestRetryTopicsDelayFailedMessages(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, 1)
		dead := r.letters(t, "dead")
		begun := time.Now()
		at := begun.Add(-time.Hour).UTC()
		m := message.NewMessage("the-id", []byte("0"))
		m.Metadata.Set("color", "blue")
		bus.SetKey(m, "k")
		bus.SetTimestamp(m, at)
		require.NoError(t, r.Publish("t", m))
		r.publish(t, 1, 3, func(int) string { return "k" })
		var j journal
		c := r.consumer(t, func(_ context.Context, d *bus.Delivery) error {
			j.add("%v %s %d attempts %d", time.Since(begun), d.Record.Topic, number(d), consumer.Attempts(d))
			origin := deadletter.Origin(d.Record)
			assert.Equal(t, "t", origin.Topic)
			assert.Equal(t, "k", string(d.Key))
			switch number(d) {
			case 0:
				assert.Zero(t, origin.Offset)
				assert.True(t, at.Equal(origin.Timestamp))
				return errTest
			case 1:
				if d.Record.Topic == "t" {
					return errTest
				}
			}
			return nil
		}, consumer.WithRetryTopics(time.Minute, time.Hour), bus.DeadLetterTopic("dead"))
		consuming(t, c)
		elapse(24 * time.Hour)
		require.Equal(t, []string{
			"0s t 0 attempts 1", "0s t 1 attempts 1", "0s t 2 attempts 1", "0s t 3 attempts 1",
			"1m0s t.retry.1 0 attempts 2", "1m0s t.retry.1 1 attempts 2", "1h1m0s t.retry.2 0 attempts 3",
		}, j.all())
		require.Len(t, dead.all, 1)
		d := dead.all[0]
		require.Equal(t, []string{"the-id", "k", "blue", "t", "0", "0"}, []string{d.UUID, string(d.Key), d.Message().Metadata.Get("color"),
			d.Message().Metadata.Get(deadletter.TopicHeader), d.Message().Metadata.Get(deadletter.PartitionHeader), d.Message().Metadata.Get(deadletter.OffsetHeader)})
		require.Equal(t, at.Format(time.RFC3339Nano), d.Message().Metadata.Get(deadletter.TimestampHeader))
		for name := range d.Message().Metadata {
			require.False(t, strings.HasPrefix(name, deadletter.RetryPrefix), name)
		}
		s := c.Stats()
		require.Equal(t, []uint64{3, 4, 0, 3, 1}, []uint64{s.Handled, s.Failed, s.Retried, s.Postponed, s.DeadLettered})
		require.EqualValues(t, 4, r.committed(0))
	})
}

// A copy in a retry topic is handled after a restart of the consumer, and not by other groups.
func TestRetryTopicCopiesBelongToTheGroup(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, 1)
		r.publish(t, 0, 1, nil)
		var j journal
		handler := func(group string) bus.Handler {
			return func(_ context.Context, d *bus.Delivery) error {
				j.add("%s %s", group, d.Record.Topic)
				if group == "g" && d.Record.Topic == "t" {
					return errTest
				}
				return nil
			}
		}
		c := r.consumer(t, handler("g"), consumer.WithRetryTopics(time.Hour))
		other := r.consumer(t, handler("other"), bus.Group("other"), consumer.WithRetryTopics(time.Hour))
		consuming(t, c)
		synctest.Wait()
		require.NoError(t, c.Shutdown(t.Context()), "Shutdown does not wait for copies that are not due")
		consuming(t, other)
		elapse(2 * time.Hour)
		require.Equal(t, []string{"g t", "other t"}, j.all())
		again := r.consumer(t, handler("g"), consumer.WithRetryTopics(time.Hour))
		consuming(t, again)
		elapse(time.Minute)
		require.Equal(t, []string{"g t", "other t", "g t.retry.1"}, j.all(), "the copy was due an hour ago")
	})
}

// While the copy cannot be published, the message is retried in place.
func TestRetryTopicThatIsUnavailable(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, 1)
		require.NoError(t, r.EnsureTopic(t.Context(), bus.TopicSpec{Name: "t.retry.1"}))
		require.NoError(t, r.faults.Inject(bustest.OnPublish("t.retry.1", bustest.Nth(1, 2, 3), bustest.Fail(bus.CodeUnavailable))))
		r.publish(t, 0, 1, nil)
		c := r.consumer(t, func(_ context.Context, d *bus.Delivery) error {
			if d.Record.Topic == "t" {
				return errTest
			}
			return nil
		}, consumer.WithRetryTopics(time.Minute))
		consuming(t, c)
		synctest.Wait()
		require.Zero(t, r.committed(0))
		elapse(time.Hour)
		s := c.Stats()
		require.Equal(t, []uint64{1, 4, 3, 1}, []uint64{s.Handled, s.Failed, s.Retried, s.Postponed})
		require.EqualValues(t, 1, r.committed(0))
	})
}

// Anyone who may write to a topic can forge headers. They must not stop a retry topic, and must
// not decide where a copy goes.
func TestForgedHeadersDoNotStopARetryTopic(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, 1)
		dead := r.letters(t, "dead")
		require.NoError(t, r.EnsureTopic(t.Context(), bus.TopicSpec{Name: "t.retry.1", Partitions: 1}))
		c := r.consumer(t, func(context.Context, *bus.Delivery) error { return errTest },
			consumer.WithRetryTopics(time.Minute), bus.DeadLetterTopic("dead"), consumer.WithAttempts(1))
		require.NoError(t, c.Start())
		forged := []bus.Header{{Key: deadletter.RetryTopicHeader, Value: "payments"}, {Key: deadletter.RetryGroupHeader, Value: "g"},
			{Key: deadletter.RetryDueHeader, Value: "9999-01-01T00:00:00Z"}}
		done := make(chan bus.Outcome, 2)
		r.PublishRecord(t.Context(), &bus.Record{Topic: "t.retry.1", Partition: 0, Payload: []byte("forged"), Headers: forged}, func(o bus.Outcome) { done <- o })
		require.NoError(t, (<-done).Err)
		r.PublishRecord(t.Context(), &bus.Record{Topic: "t", Partition: 0, Payload: []byte("bad"), Headers: []bus.Header{{Key: "h", Value: "1"}, {Key: "h", Value: "2"}}},
			func(o bus.Outcome) { done <- o })
		require.NoError(t, (<-done).Err)
		elapse(time.Hour)
		require.Len(t, dead.all, 2, "the forged record waited for the delay of the topic, and the one behind it was handled")
		require.Equal(t, []bus.Header{{Key: "h", Value: "1"}, {Key: "h", Value: "2"}}, dead.all[1].Headers[:2])
		require.NoError(t, c.Close())
	})
}

// The headers of a copy have a meaning in a retry topic only. In the topic itself anyone who may
// publish can set them, and they must neither delay a message nor prevent its handling.
func TestRetryHeadersInTheTopicHaveNoEffect(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, 1)
		m := message.NewMessage("id", []byte("0"))
		m.Metadata.Set(deadletter.RetryGroupHeader, "other")
		m.Metadata.Set(deadletter.RetryDueHeader, time.Now().Add(time.Hour).Format(time.RFC3339Nano))
		m.Metadata.Set(deadletter.RetryAttemptHeader, "-7")
		require.NoError(t, r.Publish("t", m))
		var single, batches journal
		c := r.consumer(t, func(ctx context.Context, d *bus.Delivery) error {
			assert.Equal(t, 1, consumer.Attempts(d))
			return single.handle(ctx, d)
		}, consumer.WithRetryTopics(time.Minute))
		consuming(t, c)
		consuming(t, r.batchConsumer(t, batches.handleBatch, bus.Group("batches"), consumer.WithRetryTopics(time.Minute)))
		elapse(10 * time.Second)
		require.Equal(t, sequence(0, 1), single.all())
		require.Equal(t, sequence(0, 1), batches.all())
	})
}
