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
	{name: "RecordSaysWhereItStands", run: recordFields},
	{name: "TimestampOfThePublisher", needs: needs{needTimestamps}, run: recordTimestamp},
	{name: "PartitionOfThePublisher", needs: needs{needPartitions}, run: recordPartition},
	{name: "SubscribedMessageHasItsRecord", run: subscribedRecord},
	{name: "EverySubscriptionSeesAll", run: fanOut},
	{name: "OversizedMessageIsRefusedAndTheLargestArrives", run: oversized},
}

func recordFields(t *testing.T, e *env) {
	b := e.bus(t)
	topic := e.topic(t, b, 1)
	got := newLog()
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
		require.NotContains(t, headers, "trunkline-key", "a directive is no header")
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
	got := newLog()
	e.consume(t, b, topic, got.handler)
	at := time.Now().Add(-time.Hour).Truncate(time.Millisecond)
	m := numbered(0, 1, nil)[0]
	bus.SetTimestamp(m, at)
	e.publish(t, b, topic, m)
	r := got.count(t, e, 1)[0].record
	require.True(t, at.Equal(r.Timestamp), "published at %v, delivered as %v", at, r.Timestamp)
	for _, h := range r.Headers {
		require.NotEqual(t, "trunkline-timestamp", h.Key, "a directive is no header")
	}
}

func recordPartition(t *testing.T, e *env) {
	b := e.bus(t)
	topic := e.topic(t, b, partitions)
	everything, some := newLog(), newLog()
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
	require.Error(t, b.Publish(topic, nowhere), "a partition that isn't there")

	keyed := numbered(100, 20, func(int) string { return "one key" })
	e.publish(t, b, topic, keyed...)
	used := map[int32]bool{}
	for _, x := range everything.count(t, e, 28)[8:] {
		used[x.record.Partition] = true
	}
	require.Len(t, used, 1, "messages of a key are on one partition")
}

func subscribedRecord(t *testing.T, e *env) {
	b, watch := e.watchedBus(t)
	topic := e.topic(t, b, 1)
	channel, err := b.Subscribe(t.Context(), topic)
	require.NoError(t, err)
	e.awaits(t, watch, "the subscription is assigned")
	e.publishing(t, b, topic, numbered(0, 1, nil)...)
	m := e.receive(t, channel)
	r, ok := bus.RecordFromContext(m.Context())
	require.True(t, ok)
	require.Equal(t, topic, r.Topic)
	require.Equal(t, m.UUID, r.UUID)
	require.Equal(t, []byte(m.Payload), r.Payload)
	require.NoError(t, m.Context().Err())
	require.True(t, m.Ack())
	e.awaits(t, m.Context().Done(), "the context of an acknowledged message ends")
}

func fanOut(t *testing.T, e *env) {
	one, two := e.bus(t), e.bus(t)
	topic := e.topic(t, one, partitions)
	logs := []*log{newLog(), newLog(), newLog()}
	e.consume(t, one, topic, logs[0].handler)
	e.consume(t, one, topic, logs[1].handler)
	e.consume(t, two, topic, logs[2].handler)
	const n = 100
	e.publish(t, one, topic, numbered(0, n, nil)...)
	for _, l := range logs {
		l.distinct(t, e, n)
		require.Len(t, l.snapshot(), n, "each once")
	}
}

// oversized publishes the largest message that is allowed between two that are a byte
// over it.
func oversized(t *testing.T, e *env) {
	limit := 1_000_000 // a bus's own default
	if e.caps.MaxMessageBytes > 0 {
		limit = min(limit, e.caps.MaxMessageBytes)
	}
	b := e.bus(t)
	topic := e.topic(t, b, 1)
	payload := bytes.Repeat([]byte{0, 0xff, 'x', '\n'}, limit/4+1)
	of := func(size int) *message.Message { return message.NewMessage("id-0", payload[:size-len("id-0")]) }
	arrived := make(chan []byte, 16)
	e.consume(t, b, topic, func(_ context.Context, d *bus.Delivery) error {
		arrived <- d.Payload
		return nil
	})
	err := b.Publish(topic, of(limit+1), of(limit), of(limit+1))
	failed, ok := errors.AsType[*bus.PublishError](err)
	require.True(t, ok, "%v", err)
	requireCode(t, bus.CodeTooLarge, failed.Outcomes[0].Err, "a byte too many")
	require.NoError(t, failed.Outcomes[1].Err, "a message as large as is allowed")
	requireCode(t, bus.CodeTooLarge, failed.Outcomes[2].Err, "a byte too many")
	e.publish(t, b, topic, numbered(1, 1, nil)...)
	var lengths []int
	for range 2 {
		select {
		case got := <-arrived:
			lengths = append(lengths, len(got))
			if len(got) > 1 {
				require.True(t, bytes.Equal(payload[:len(got)], got), "the large message arrives as it was published")
			}
		case <-time.After(e.h.Patience):
			require.Fail(t, "a message did not arrive")
		}
	}
	require.ElementsMatch(t, []int{limit - len("id-0"), 1}, lengths, "what is too large does not arrive")
}
