package transporttest

import (
	"context"
	"errors"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/trunkline/trunkline/bus"
	"github.com/trunkline/trunkline/bus/deadletter"
	"github.com/trunkline/trunkline/testing/bustest"
)

var undecodableScenarios = []scenario{
	{name: "UndecodableRecordIsDeadLettered", run: undecodableLetter},
	{name: "UndecodableRecordEndsSubscriptionWithoutDeadLetterTopic", needs: requirements{needPublishWithoutAck}, run: undecodableEnds},
}

// undecodableBus is a bus with a topic that gets an undecodable record.
type undecodableBus struct {
	*bus.Bus
	topic string
}

// newUndecodableBus returns such a bus, and a function that publishes the records 0, 1 and 2 to its
// topic. Subscriptions of the bus cannot decode record 1.
func newUndecodableBus(t *testing.T, e *env) (s undecodableBus, publish func()) {
	t.Helper()
	tr := e.transport(t)
	if e.h.Undecodable != nil {
		s.Bus = e.busOver(t, tr)
		s.topic = e.topic(t, s.Bus, 1)
		return s, func() {
			e.publish(t, s.Bus, s.topic, numbered(0, 1, nil)...)
			e.h.Undecodable(t, tr, s.topic, bus.Record{Topic: s.topic, Key: []byte("device-7"), Payload: []byte("1"),
				Headers: []bus.Header{{Key: "trace", Value: "abc"}}})
			e.publish(t, s.Bus, s.topic, numbered(2, 1, nil)...)
		}
	}
	faults, err := bustest.NewFaults(tr, 1)
	require.NoError(t, err)
	s.Bus = e.busOver(t, faults)
	s.topic = e.topic(t, s.Bus, 1)
	return s, func() {
		require.NoError(t, faults.Inject(bustest.OnFetch(s.topic, bustest.Nth(2), bustest.Corrupt(errors.New("made undecodable by the suite")))))
		ms := numbered(0, 3, func(int) string { return "device-7" })
		for _, m := range ms {
			m.Metadata.Set("trace", "abc")
		}
		e.publishing(t, s.Bus, s.topic, ms...)
	}
}

func undecodableLetter(t *testing.T, e *env) {
	b, publish := newUndecodableBus(t, e)
	letters := e.topic(t, b.Bus, 1)
	dead, alive := newRecorder(), newRecorder()
	e.consume(t, b.Bus, letters, dead.handler)
	s := e.consume(t, b.Bus, b.topic, alive.handler, bus.DeadLetterTopic(letters))
	publish()
	alive.distinct(t, e, 2)
	letter := dead.count(t, e, 1)[0]
	headers := map[string]string{}
	for _, h := range letter.record.Headers {
		headers[h.Key] = h.Value
	}
	require.NotContains(t, alive.numbers(), letter.number, "an undecodable record reaches no handler")
	require.Equal(t, "abc", headers["trace"])
	require.Equal(t, b.topic, headers[deadletter.TopicHeader])
	require.Equal(t, "undecodable", headers[deadletter.CodeHeader])
	require.NotEmpty(t, headers[deadletter.CauseHeader])
	if e.caps.Keys {
		require.Equal(t, "device-7", string(letter.record.Key))
	}
	if e.caps.Ordered {
		require.Equal(t, 1, letter.number)
		require.Equal(t, "1", headers[deadletter.OffsetHeader])
	}
	e.close(t, s)
}

func undecodableEnds(t *testing.T, e *env) {
	b, publish := newUndecodableBus(t, e)
	got := newRecorder()
	var opts []bus.SubscribeOption
	resumes := e.caps.Groups && e.caps.Replay && e.caps.Redelivery
	if resumes {
		opts = append(opts, bus.Group(e.name("group")))
	}
	s, err := b.Consume(context.WithoutCancel(t.Context()), b.topic, got.handler, opts...)
	require.NoError(t, err)
	e.ready(t, s)
	publish()
	await(t, e, s.Done(), "the subscription ends")
	requireCode(t, bus.CodeUndecodable, s.Err(), "the error of the subscription")
	if !resumes {
		return
	}
	require.Equal(t, []int{0}, got.numbers(), "later records are not delivered")
	// No record is skipped: with a dead-letter topic the group continues at the same record.
	letters := e.topic(t, b.Bus, 1)
	successor, dead, rest := e.bus(t), newRecorder(), newRecorder()
	e.consume(t, successor, letters, dead.handler)
	e.consume(t, successor, b.topic, rest.handler, append(opts, bus.DeadLetterTopic(letters))...)
	rest.last(t, e, 2)
	if e.h.Undecodable != nil { // otherwise the successor can decode the record
		require.Equal(t, 1, dead.count(t, e, 1)[0].number)
	}
}
