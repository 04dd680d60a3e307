package transporttest

import (
	"bytes"
	"context"
	"errors"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/stretchr/testify/require"

	"github.com/trunkline/trunkline/bus"
)

var recordScenarios = []scenario{
	{name: "RecordHasTopicPartitionOffsetAndHeaders", run: recordFields},
	{name: "PublisherSetsTimestamp", needs: requirements{needTimestamps}, run: recordTimestamp},
	{name: "PublisherSetsPartition", needs: requirements{needPartitions}, run: recordPartition},
	{name: "SubscribedMessageHasItsRecord", run: subscribedRecord},
	{name: "EachSubscriptionWithoutGroupReceivesEveryMessage", run: fanOut},
	{name: "OversizedMessageIsRejectedAndLargestIsDelivered", run: oversized},
}

func recordFields(t *testing.T, e *env) {
	b := e.bus(t)
	topic := e.topic(t, b, 1)
	got := newRecorder()
	e.consume(t, b, topic, got.handler)
	before := time.Now().Add(-time.Second)
	for i := range 3 {
		m := numbered(i, 1, nil)[0]
		m.Metadata.Set("plain", "value")
		m.Metadata.Set("ünïcode ☃", "line\nbreak \x01")
		m.Metadata.Set("empty", "")
		if e.caps.Keys && i != 2 {
			bus.SetKey(m, "device-7")
		}
		e.publish(t, b, topic, m)
		got.count(t, e, i+1)
	}
	after := time.Now().Add(time.Second)
	for i, x := range got.snapshot() {
		r := x.record
		require.Equal(t, i, x.number)
		require.Equal(t, 1, x.attempt)
		require.Equal(t, topic, r.Topic)
		require.Zero(t, r.Partition)
		require.EqualValues(t, i, r.Offset)
		require.Equal(t, "id-"+string(r.Payload), r.UUID)
		require.WithinRange(t, r.Timestamp, before, after)
		headers := map[string]string{}
		for _, h := range r.Headers {
			headers[h.Key] = h.Value
		}
		require.Equal(t, "value", headers["plain"])
		require.Equal(t, "line\nbreak \x01", headers["ünïcode ☃"])
		require.Contains(t, headers, "empty")
		require.NotContains(t, headers, "trunkline-key", "a directive is not delivered as a header")
		if e.caps.Keys && i != 2 {
			require.Equal(t, "device-7", string(r.Key))
		} else {
			require.Nil(t, r.Key)
		}
	}
}

func recordTimestamp(t *testing.T, e *env) {
	b := e.bus(t)
	topic := e.topic(t, b, 1)
	got := newRecorder()
	e.consume(t, b, topic, got.handler)
	at := time.Now().Add(-time.Hour).Truncate(time.Millisecond)
	m := numbered(0, 1, nil)[0]
	bus.SetTimestamp(m, at)
	e.publish(t, b, topic, m)
	r := got.count(t, e, 1)[0].record
	require.True(t, at.Equal(r.Timestamp), "published at %v, delivered as %v", at, r.Timestamp)
	for _, h := range r.Headers {
		require.NotEqual(t, "trunkline-timestamp", h.Key, "a directive is not delivered as a header")
	}
}

func recordPartition(t *testing.T, e *env) {
	b := e.bus(t)
	topic := e.topic(t, b, partitions)
	everything, some := newRecorder(), newRecorder()
	e.consume(t, b, topic, everything.handler)
	e.consume(t, b, topic, some.handler, bus.OnlyPartitions(1, 3))
	ms := numbered(0, 8, func(int) string { return "the same" })
	for i, m := range ms {
		bus.SetPartition(m, int32(i%partitions))
	}
	e.publish(t, b, topic, ms...)
	for _, x := range everything.count(t, e, 8) {
		require.EqualValues(t, x.number%partitions, x.record.Partition)
	}
	some.count(t, e, 4)
	require.ElementsMatch(t, []int{1, 3, 5, 7}, some.numbers())

	nowhere := numbered(8, 1, nil)[0]
	bus.SetPartition(nowhere, partitions)
	require.Error(t, e.tryPublish(t, b, topic, nowhere), "a partition that does not exist")

	keyed := numbered(100, 20, func(int) string { return "one key" })
	e.publish(t, b, topic, keyed...)
	used := map[int32]bool{}
	for _, x := range everything.count(t, e, 28)[8:] {
		used[x.record.Partition] = true
	}
	require.Len(t, used, 1, "all messages of a key are on one partition")
}

func subscribedRecord(t *testing.T, e *env) {
	b := e.bus(t)
	topic := e.topic(t, b, 1)
	channel, err := b.Subscribe(t.Context(), topic)
	require.NoError(t, err)
	e.publishing(t, b, topic, numbered(0, 1, nil)...)
	m := e.receive(t, channel)
	r, ok := bus.RecordFromContext(m.Context())
	require.True(t, ok)
	require.Equal(t, topic, r.Topic)
	require.Equal(t, m.UUID, r.UUID)
	require.Equal(t, []byte(m.Payload), r.Payload)
	require.NoError(t, m.Context().Err())
	require.True(t, m.Ack())
	await(t, e, m.Context().Done(), "the context of an acknowledged message ends")
}

func fanOut(t *testing.T, e *env) {
	one, two := e.bus(t), e.bus(t)
	topic := e.topic(t, one, partitions)
	logs := []*recorder{newRecorder(), newRecorder(), newRecorder()}
	e.consume(t, one, topic, logs[0].handler)
	e.consume(t, one, topic, logs[1].handler)
	e.consume(t, two, topic, logs[2].handler)
	const n = 100
	e.publish(t, one, topic, numbered(0, n, nil)...)
	for _, l := range logs {
		l.distinct(t, e, n)
		require.Len(t, l.snapshot(), n, "each message is delivered once")
	}
}

// oversized publishes the largest allowed message between two messages that are one byte larger.
func oversized(t *testing.T, e *env) {
	limit := 1_000_000 // the default of a bus
	if e.caps.MaxMessageBytes > 0 {
		limit = min(limit, e.caps.MaxMessageBytes)
	}
	b := e.bus(t)
	topic := e.topic(t, b, 1)
	payload := bytes.Repeat([]byte{0, 0xff, 'x', '\n'}, limit/4+1)
	of := func(size int) *message.Message { return message.NewMessage("id-0", payload[:size-len("id-0")]) }
	arrived := make(chan []byte, 16)
	e.consume(t, b, topic, func(_ context.Context, d *bus.Delivery) error {
		arrived <- d.Record.Payload
		return nil
	})
	err := e.tryPublish(t, b, topic, of(limit+1), of(limit), of(limit+1))
	failed, ok := errors.AsType[*bus.PublishError](err)
	require.True(t, ok, "%v", err)
	requireCode(t, bus.CodeTooLarge, failed.Outcomes[0].Err, "a message that is one byte too large")
	require.NoError(t, failed.Outcomes[1].Err, "the largest allowed message")
	requireCode(t, bus.CodeTooLarge, failed.Outcomes[2].Err, "a message that is one byte too large")
	e.publish(t, b, topic, numbered(1, 1, nil)...)
	var lengths []int
	for range 2 {
		got := await(t, e, arrived, "a message arrives")
		lengths = append(lengths, len(got))
		if len(got) > 1 {
			require.True(t, bytes.Equal(payload[:len(got)], got), "the large message arrives as it was published")
		}
	}
	require.ElementsMatch(t, []int{limit - len("id-0"), 1}, lengths, "only the valid messages arrive")
}
