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
	{name: "UndecodableRecordBecomesADeadLetter", run: undecodableLetter},
	{name: "UndecodableRecordEndsASubscriptionWithoutDeadLetters", needs: needs{needFreePublish}, run: undecodableEnds},
}

// spoiled is a bus with a topic to which undecodable records can be published.
type spoiled struct {
	*bus.Bus
	topic string
}

// spoil returns such a bus, and how to publish 0, 1 and 2 to its topic, of which 1
// can't be decoded by who reads over that bus.
func spoil(t *testing.T, e *env) (s spoiled, publish func()) {
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
		require.NoError(t, faults.Inject(bustest.OnFetch(s.topic, bustest.Nth(2), bustest.Corrupt(errors.New("spoiled by the suite")))))
		ms := numbered(0, 3, func(int) string { return "device-7" })
		for _, m := range ms {
			m.Metadata.Set("trace", "abc")
		}
		e.publishing(t, s.Bus, s.topic, ms...)
	}
}

func undecodableLetter(t *testing.T, e *env) {
	b, publish := spoil(t, e)
	letters := e.topic(t, b.Bus, 1)
	dead, alive := newLog(), newLog()
	e.consume(t, b.Bus, letters, dead.handler)
	s := e.consume(t, b.Bus, b.topic, alive.handler, bus.DeadLetterTopic(letters))
	publish()
	alive.distinct(t, e, 2)
	letter := dead.count(t, e, 1)[0]
	headers := map[string]string{}
	for _, h := range letter.record.Headers {
		headers[h.Key] = h.Value
	}
	require.NotContains(t, alive.numbers(), letter.number, "a record that is no message reaches no handler")
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
	b, publish := spoil(t, e)
	got := newLog()
	var opts []bus.SubscribeOption
	resumes := e.caps.Groups && e.caps.Replay && e.caps.Redelivery
	if resumes {
		opts = append(opts, bus.Group(e.name("group")))
	}
	s, err := b.Consume(context.WithoutCancel(t.Context()), b.topic, got.handler, opts...)
	require.NoError(t, err)
	e.ready(t, s)
	publish()
	e.awaits(t, s.Done(), "the subscription ends")
	requireCode(t, bus.CodeUndecodable, s.Err(), "why it ended")
	if !resumes {
		return
	}
	require.Equal(t, []int{0}, got.numbers(), "what follows the record waits for it")
	// Nothing is skipped: with a dead-letter topic the group goes on where it stopped.
	letters := e.topic(t, b.Bus, 1)
	heir, dead, rest := e.bus(t), newLog(), newLog()
	e.consume(t, heir, letters, dead.handler)
	e.consume(t, heir, b.topic, rest.handler, append(opts, bus.DeadLetterTopic(letters))...)
	rest.until(t, e, "message 2", func(es []entry) bool { return len(es) > 0 && es[len(es)-1].number == 2 })
	if e.h.Undecodable != nil { // only then is it spoilt for the heir as well
		require.Equal(t, 1, dead.count(t, e, 1)[0].number)
	}
}
