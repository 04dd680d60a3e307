package transporttest

import (
	"context"
	"errors"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/trunkline/trunkline/bus"
	"github.com/trunkline/trunkline/bus/deadletter"
)

var deadLetterScenarios = []scenario{
	{name: "DeadLetterHasMessageOriginAndCause", run: deadLetter},
	{name: "DeadLetterWithoutTopicIsTreatedAsNack", run: deadLetterNowhere},
}

func deadLetter(t *testing.T, e *env) {
	b := e.bus(t)
	topic, letters := e.topic(t, b, 1), e.topic(t, b, 1)
	dead, alive := newRecorder(), newRecorder()
	e.consume(t, b, letters, dead.handler)
	cause := &bus.Error{Code: bus.CodeInvalidArgument, Reason: "no such device"}
	opts := []bus.SubscribeOption{bus.DeadLetterTopic(letters)}
	if e.caps.Groups {
		opts = append(opts, bus.Group(e.name("group")))
	}
	e.consume(t, b, topic, func(_ context.Context, d *bus.Delivery) error {
		alive.add(d)
		if number(d) == 0 {
			return bus.DeadLetter(cause)
		}
		return nil
	}, opts...)
	ms := numbered(0, 2, nil)
	ms[0].Metadata.Set("trace", "abc")
	if !e.h.NoTimestamps {
		bus.SetTimestamp(ms[0], time.UnixMilli(1_700_000_000_000)) // years ago
	}
	if e.caps.Keys {
		bus.SetKey(ms[0], "device-7")
	}
	e.publish(t, b, topic, ms...)
	alive.distinct(t, e, 2)
	letter := dead.count(t, e, 1)[0]
	require.Equal(t, "0", string(letter.record.Payload))
	require.Equal(t, "id-0", letter.record.UUID)
	if e.caps.Keys {
		require.Equal(t, "device-7", string(letter.record.Key))
	}
	headers := map[string]string{}
	for _, h := range letter.record.Headers {
		headers[h.Key] = h.Value
	}
	var original delivery
	for _, x := range alive.snapshot() {
		if x.number == 0 {
			original = x
		}
	}
	require.Equal(t, "abc", headers["trace"])
	require.Equal(t, topic, headers[deadletter.TopicHeader])
	require.Equal(t, "0", headers[deadletter.PartitionHeader])
	require.Equal(t, strconv.FormatInt(original.record.Offset, 10), headers[deadletter.OffsetHeader])
	require.Equal(t, cause.Error(), headers[deadletter.CauseHeader])
	require.Equal(t, "invalid_argument", headers[deadletter.CodeHeader])
	if e.caps.Groups {
		require.Equal(t, e.name("group"), headers[deadletter.GroupHeader])
	}
	if !e.h.NoTimestamps {
		at, err := time.Parse(time.RFC3339Nano, headers[deadletter.TimestampHeader])
		require.NoError(t, err)
		require.True(t, original.record.Timestamp.Equal(at), "a header has the timestamp of the original")
		require.WithinRange(t, letter.record.Timestamp, time.Now().Add(-time.Hour), time.Now().Add(time.Hour), "the dead letter has the time at which it was published")
	}
	require.Equal(t, 1, original.attempt)
}

func deadLetterNowhere(t *testing.T, e *env) {
	b := e.bus(t)
	topic := e.topic(t, b, 1)
	got := newRecorder()
	e.consume(t, b, topic, func(_ context.Context, d *bus.Delivery) error {
		got.add(d)
		if d.Attempt == 1 {
			return bus.DeadLetter(errors.New("no dead-letter topic is configured"))
		}
		return nil
	})
	e.publish(t, b, topic, numbered(0, 1, nil)...)
	require.Equal(t, 2, got.count(t, e, 2)[1].attempt)
}
