package bus_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/trunkline/trunkline/bus"
	"github.com/trunkline/trunkline/bus/driver"
)

func TestDeadLetterTopicMustNotBeTheTopic(t *testing.T) {
	t.Parallel()
	b := newScript().bus(t)
	_, err := b.Consume(t.Context(), "t", func(context.Context, *bus.Delivery) error { return nil }, bus.DeadLetterTopic("t"))
	require.Equal(t, bus.CodeInvalidArgument, bus.CodeOf(err))
	require.NoError(t, b.Close())
}

// Any publisher can write headers with reserved names. When a handler publishes such a message
// again, they must not set its partition, timestamp or key, and its dead letter must not fail.
func TestReservedHeadersOfARecordDoNotAffectPublishing(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newScript()
		hostile := driver.Record{Topic: "t", UUID: "u", Payload: []byte("p"), Headers: []driver.Header{
			{Key: driver.PartitionDirective, Value: "99999"}, {Key: driver.TimestampDirective, Value: "never"},
			{Key: driver.KeyDirective, Value: "forged"}, {Key: "h", Value: "1"}, {Key: "h", Value: "2"}}}
		p := newScriptPartition(hostile)
		var sent []driver.Outgoing
		s.publish = func(batch []driver.Outgoing) {
			sent = append(sent, kept(batch)...)
			for i := range batch {
				batch[i].Complete(driver.Outcome{})
			}
		}
		b := s.bus(t)
		sub := consume(t, s, b, p, func(_ context.Context, d *bus.Delivery) error {
			assert.NoError(t, b.Publish("forwarded", d.Message()))
			return bus.DeadLetter(errors.New("bad"))
		}, bus.Group("g"), bus.DeadLetterTopic("dead"))
		synctest.Wait()
		require.Len(t, sent, 2)
		for _, o := range sent {
			require.Equal(t, driver.AnyPartition, o.Partition)
			require.True(t, o.Timestamp.IsZero())
			require.Empty(t, o.Key)
		}
		require.Equal(t, []int64{1}, p.committed())
		require.Equal(t, []driver.Header{{Key: "h", Value: "1"}, {Key: "h", Value: "2"}}, sent[1].Headers[:2], "a dead letter has all headers of the original, in order")
		require.NoError(t, sub.Shutdown(t.Context()))
		require.NoError(t, b.Close())
	})
}

func TestFailuresAreLoggedOncePerIntervalWithTheirNumber(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s, p := newScript(), newScriptPartition(records(0, 1, nil)...)
		var log bytes.Buffer
		b := s.bus(t, bus.WithLogger(slog.New(slog.NewTextHandler(&log, nil))))
		sub := consume(t, s, b, p, func(_ context.Context, d *bus.Delivery) error {
			if d.Attempt < 21 {
				return errors.New("the database is locked")
			}
			return nil
		}, bus.Group("g"), bus.Backoff(time.Second, time.Second))
		time.Sleep(time.Minute)
		synctest.Wait()
		require.NoError(t, sub.Shutdown(t.Context()))
		require.NoError(t, b.Close())
		lines := strings.Split(strings.TrimSpace(log.String()), "\n")
		require.Greater(t, len(lines), 1)
		require.LessOrEqual(t, len(lines), 3, "20 failures in at most 20 seconds")
		require.Contains(t, lines[0], `level=WARN msg="message not handled: it is delivered again"`)
		require.Contains(t, lines[0], `topic=t group=g partition=0 offset=0 attempt=1 error="the database is locked"`)
		require.Contains(t, lines[1], "omitted=")
	})
}
