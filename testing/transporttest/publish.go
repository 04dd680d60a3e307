package transporttest

import (
	"context"
	"errors"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/stretchr/testify/require"

	"github.com/trunkline/trunkline/bus"
	"github.com/trunkline/trunkline/testing/bustest"
)

var publishScenarios = []scenario{
	{name: "InvalidCallsReturnDocumentedCodes", run: invalidCalls},
	{name: "PublishErrorHasOutcomeOfEachMessage", run: batchOutcomes},
	{name: "UnsupportedOptionsAreRejected", run: unsupportedOptions},
	{name: "CallsAfterCloseReturnClosed", run: afterClose},
	{name: "PublishDuringCloseSucceedsOrReturnsClosed", run: publishRacingClose},
	{name: "PublishAsyncReportsOutcomeOnce", run: publishAsync},
	{name: "RecordIsDeliveredAsPublished", run: recordAsPublished},
	{name: "HeadersKeepOrderAndDuplicates", needs: requirements{needHeaderOrder}, run: headerOrder},
	{name: "ContextEndAfterSubmissionReturnsOutcomeUnknown", run: contextAfterSubmission},
}

func invalidCalls(t *testing.T, e *env) {
	b := e.bus(t, bus.WithMaxMessageBytes(1000))
	topic := e.topic(t, b, 1)
	m := message.NewMessage("id", nil)
	requireCode(t, bus.CodeInvalidArgument, b.Publish("", m), "publish to an empty topic")
	requireCode(t, bus.CodeInvalidArgument, b.Publish(topic, nil), "publish a nil message")
	requireCode(t, bus.CodeTooLarge, b.Publish(topic, message.NewMessage("id", make([]byte, 1001))), "publish 1001 bytes")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	ended := message.NewMessageWithContext(ctx, "id", nil)
	requireCode(t, bus.CodeCanceled, b.Publish(topic, ended), "publish with a canceled context")
	past, cancel := context.WithDeadline(t.Context(), time.Now().Add(-time.Second))
	defer cancel()
	late := message.NewMessageWithContext(past, "id", nil)
	requireCode(t, bus.CodeDeadlineExceeded, b.Publish(topic, late), "publish after the deadline")
	require.NoError(t, b.Publish(topic), "publish no message")

	handler := func(context.Context, *bus.Delivery) error { return nil }
	_, err := b.Consume(t.Context(), "", handler)
	requireCode(t, bus.CodeInvalidArgument, err, "consume an empty topic")
	_, err = b.Consume(t.Context(), topic, nil)
	requireCode(t, bus.CodeInvalidArgument, err, "consume without a handler")
	_, err = b.Subscribe(t.Context(), "")
	requireCode(t, bus.CodeInvalidArgument, err, "subscribe to an empty topic")
	_, err = b.Subscribe(ctx, topic)
	requireCode(t, bus.CodeCanceled, err, "subscribe with a canceled context")
}

func batchOutcomes(t *testing.T, e *env) {
	b := e.bus(t, bus.WithMaxMessageBytes(1000))
	topic := e.topic(t, b, 1)
	got := newRecorder()
	e.consume(t, b, topic, got.handler)
	ms := numbered(0, 4, nil)
	ms[1] = nil
	ms[2].Payload = []byte(strings.Repeat("x", 1001))
	err := e.tryPublish(t, b, topic, ms...)
	failed, ok := errors.AsType[*bus.PublishError](err)
	require.True(t, ok, "%v", err)
	require.Len(t, failed.Outcomes, 4)
	require.NoError(t, failed.Outcomes[0].Err)
	requireCode(t, bus.CodeInvalidArgument, failed.Outcomes[1].Err, "the nil message")
	requireCode(t, bus.CodeTooLarge, failed.Outcomes[2].Err, "the large message")
	require.NoError(t, failed.Outcomes[3].Err)
	got.distinct(t, e, 2)
	require.ElementsMatch(t, []int{0, 3}, got.numbers(), "an invalid message does not affect the others of its batch")
}

func unsupportedOptions(t *testing.T, e *env) {
	b := e.bus(t)
	topic := e.topic(t, b, 1)
	handler := func(context.Context, *bus.Delivery) error { return nil }
	for _, c := range []struct {
		about string
		has   bool
		opt   bus.SubscribeOption
	}{
		{"Group", e.caps.Groups, bus.Group(e.name("group"))},
		{"OnlyPartitions", e.caps.Partitions, bus.OnlyPartitions(0)},
		{"OrderByPartition", e.caps.Ordered, bus.OrderByPartition()},
		{"OrderByKey", e.caps.Ordered && e.caps.Keys, bus.OrderByKey()},
		{"FromOldest", e.caps.Replay, bus.FromOldest()},
		{"FromOffset", e.caps.Replay, bus.FromOffset(0)},
		{"FromTime", e.caps.Replay, bus.FromTime(time.Now())},
		{"FromNewest", true, bus.FromNewest()},
	} {
		s, err := b.Consume(t.Context(), topic, handler, c.opt)
		if !c.has {
			requireCode(t, bus.CodeUnsupported, err, c.about)
			continue
		}
		require.NoError(t, err, c.about)
		e.close(t, s)
	}
	if !e.caps.Partitions {
		rejectsPartition(t, e, b, topic)
	}
	if !e.caps.Topics {
		rejectsAdmin(t, e, b, topic)
	}
	if err := b.Ping(t.Context()); err != nil {
		requireCode(t, bus.CodeUnsupported, err, "ping")
	}
}

func afterClose(t *testing.T, e *env) {
	b := e.bus(t)
	topic := e.topic(t, b, 1)
	got := newRecorder()
	s := e.consume(t, b, topic, got.handler)
	e.closeBus(t, b)
	require.NoError(t, b.Close(), "Close is idempotent")
	select {
	case <-s.Done():
	default:
		require.Fail(t, "Close returned before the subscription had ended")
	}
	require.NoError(t, s.Err(), "the subscription was drained")
	requireCode(t, bus.CodeClosed, b.Publish(topic, message.NewMessage("id", nil)), "publish")
	_, err := b.Consume(t.Context(), topic, got.handler)
	requireCode(t, bus.CodeClosed, err, "consume")
	_, err = b.Subscribe(t.Context(), topic)
	requireCode(t, bus.CodeClosed, err, "subscribe")
	requireCode(t, bus.CodeClosed, b.Ready(t.Context()), "ready")
	requireCode(t, bus.CodeClosed, b.Ping(t.Context()), "ping")
	requireCode(t, bus.CodeClosed, s.Ready(t.Context()), "ready of a closed subscription")
	outcome := make(chan bus.Outcome, 1)
	b.PublishAsync(t.Context(), topic, message.NewMessage("id", nil), func(r bus.Outcome) { outcome <- r })
	requireCode(t, bus.CodeClosed, await(t, e, outcome, "the outcome of PublishAsync").Err, "publish asynchronously")
}

func publishRacingClose(t *testing.T, e *env) {
	const publishers = 8
	for range 3 {
		b := e.bus(t)
		topic := e.topic(t, b, partitions)
		e.consume(t, b, topic, func(context.Context, *bus.Delivery) error { return nil })
		var wg sync.WaitGroup
		var accepted atomic.Int64
		errs := make([]error, publishers)
		begun := make(chan struct{}, publishers)
		for p := range publishers {
			wg.Go(func() {
				for i := 0; ; i++ {
					if errs[p] = b.Publish(topic, message.NewMessage("id", []byte("x")), message.NewMessage("id", []byte("y"))); errs[p] != nil {
						return
					}
					accepted.Add(2)
					if i == 0 {
						begun <- struct{}{}
					}
				}
			})
		}
		for range publishers {
			await(t, e, begun, "the first publish")
		}
		e.closeBus(t, b)
		done := make(chan struct{})
		go func() { defer close(done); wg.Wait() }()
		await(t, e, done, "every publisher returns")
		for _, err := range errs {
			requireCode(t, bus.CodeClosed, err, "publish during Close")
		}
		require.NotZero(t, accepted.Load())
	}
}

func publishAsync(t *testing.T, e *env) {
	b := e.bus(t)
	topic := e.topic(t, b, 1)
	got := newRecorder()
	e.consume(t, b, topic, got.handler)
	const n = 200
	outcomes := make([]atomic.Int64, n)
	var failed atomic.Int64
	var wg sync.WaitGroup
	wg.Add(n)
	for i, m := range numbered(0, n, nil) {
		b.PublishAsync(t.Context(), topic, m, func(r bus.Outcome) {
			if r.Err != nil {
				failed.Add(1)
			}
			if outcomes[i].Add(1) == 1 {
				wg.Done()
			}
		})
	}
	got.distinct(t, e, n)
	done := make(chan struct{})
	go func() { defer close(done); wg.Wait() }()
	await(t, e, done, "every outcome is reported")
	e.closeBus(t, b)
	require.Zero(t, failed.Load())
	for i := range outcomes {
		require.EqualValues(t, 1, outcomes[i].Load(), "outcomes of message %d", i)
	}
	if e.caps.Ordered {
		require.Equal(t, sequence(0, n), got.numbers())
	}
}

func recordAsPublished(t *testing.T, e *env) {
	b := e.bus(t)
	topic := e.topic(t, b, 1)
	got := newRecorder()
	e.consume(t, b, topic, got.handler)
	r := bus.Record{Topic: topic, Partition: bus.AnyPartition, UUID: "id", Headers: []bus.Header{{Key: "a", Value: "1"}, {Key: "empty"}}, Payload: []byte("0")}
	if e.caps.Keys {
		r.Key = []byte("key")
	}
	if e.caps.Partitions {
		r.Partition = 0
	}
	if !e.h.NoTimestamps {
		r.Timestamp = time.UnixMilli(1_700_000_000_000)
	}
	require.NoError(t, e.publishRecord(t, b, &r).Err)
	d := got.until(t, e, "the record", func(ds []delivery) bool { return len(ds) == 1 })[0].record
	require.Equal(t, "id", d.UUID)
	require.Equal(t, string(r.Key), string(d.Key))
	require.Equal(t, "0", string(d.Payload))
	require.ElementsMatch(t, r.Headers, d.Headers)
	if !e.h.NoTimestamps {
		require.True(t, r.Timestamp.Equal(d.Timestamp), d.Timestamp)
	}
}

func headerOrder(t *testing.T, e *env) {
	b := e.bus(t)
	topic := e.topic(t, b, 1)
	got := newRecorder()
	e.consume(t, b, topic, got.handler)
	headers := []bus.Header{{Key: "b", Value: "1"}, {Key: "a", Value: "2"}, {Key: "b", Value: "3"}, {Key: "a", Value: "2"}, {Key: "c"}}
	require.NoError(t, e.publishRecord(t, b, &bus.Record{Topic: topic, Partition: bus.AnyPartition, Headers: headers, Payload: []byte("0")}).Err)
	deliveries := got.until(t, e, "the record", func(ds []delivery) bool { return len(ds) == 1 })
	require.Equal(t, headers, deliveries[0].record.Headers)
}

// contextAfterSubmission withholds the outcomes of messages. It ends the context of the messages
// after a subscriber has received them. The outcome must be OutcomeUnknown, although the log
// contains the messages.
func contextAfterSubmission(t *testing.T, e *env) {
	faults, err := bustest.NewFaults(e.transport(t), 1)
	require.NoError(t, err)
	b := e.busOver(t, faults)
	topic := e.topic(t, b, 1)
	require.NoError(t, faults.Inject(bustest.OnPublish(topic, bustest.Nth(1, 2), bustest.HoldOutcome())))
	got := newRecorder()
	e.consume(t, b, topic, got.handler)
	ms := numbered(0, 2, nil)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	for _, m := range ms {
		m.SetContext(ctx)
	}
	published := make(chan error, 1)
	go func() { published <- b.Publish(topic, ms...) }()
	got.distinct(t, e, 2)
	select {
	case err := <-published:
		require.Fail(t, "Publish returned without an outcome", "%v", err)
	default:
	}
	cancel()
	failed, ok := errors.AsType[*bus.PublishError](await(t, e, published, "Publish returns"))
	require.True(t, ok)
	for _, o := range failed.Outcomes {
		requireCode(t, bus.CodeOutcomeUnknown, o.Err, "the context ended after the transport had received the message")
		require.ErrorIs(t, o.Err, context.Canceled)
	}
	faults.ReleaseOutcomes() // late outcomes have no effect
	e.publish(t, b, topic, numbered(2, 1, nil)...)
	got.distinct(t, e, 3)
}
