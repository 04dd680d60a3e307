package bus_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/stretchr/testify/require"

	"github.com/trunkline/trunkline/bus"
	"github.com/trunkline/trunkline/bus/driver"
	"github.com/trunkline/trunkline/bus/hook"
)

func msg(payload string) *message.Message { return message.NewMessage("id-"+payload, []byte(payload)) }

func TestPublishListsOutcomesByIndex(t *testing.T) {
	t.Parallel()
	s := newScript()
	boom := errors.New("boom")
	s.publish = func(batch []driver.Outgoing) {
		for i := len(batch) - 1; i >= 0; i-- { // outcomes may come in any order
			if string(batch[i].Payload) == "b" {
				batch[i].Complete(driver.Failed(&bus.Error{Code: bus.CodeUnavailable, Op: "publish", Topic: "t", Err: boom}))
				continue
			}
			batch[i].Complete(driver.Outcome{Partition: 1, Offset: int64(10 + batch[i].Index)})
		}
	}
	b := s.bus(t)
	err := b.Publish("t", msg("a"), msg("b"), nil, msg("c"))
	var pe *bus.PublishError
	require.ErrorAs(t, err, &pe)
	require.ErrorIs(t, err, boom)
	require.Len(t, pe.Outcomes, 4)
	require.NoError(t, pe.Outcomes[0].Err)
	require.Equal(t, int64(10), pe.Outcomes[0].Offset)
	require.Equal(t, bus.CodeUnavailable, bus.CodeOf(pe.Outcomes[1].Err))
	require.Equal(t, bus.CodeInvalidArgument, bus.CodeOf(pe.Outcomes[2].Err))
	require.Equal(t, int64(13), pe.Outcomes[3].Offset)
	require.Contains(t, err.Error(), "2 of 4 messages failed")
	require.NoError(t, b.Publish("t"), "Publish without messages returns nil")
	require.NoError(t, b.Close())
}

func TestPublishReturnsAnErrorForAnInvalidMessage(t *testing.T) {
	t.Parallel()
	s := newScript()
	s.caps.Partitions, s.caps.MaxMessageBytes = false, 100
	s.publish = func([]driver.Outgoing) { t.Error("nothing of this may reach the transport") }
	b := s.bus(t)
	part, stamp, neg := msg("x"), msg("x"), msg("x")
	bus.SetPartition(part, 3)
	stamp.Metadata.Set(driver.TimestampDirective, "yesterday")
	neg.Metadata.Set(driver.PartitionDirective, "-1")
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	late := msg("x")
	late.SetContext(ended)
	for name, c := range map[string]struct {
		topic string
		m     *message.Message
		code  bus.Code
	}{
		"empty topic":         {"", msg("x"), bus.CodeInvalidArgument},
		"nil message":         {"t", nil, bus.CodeInvalidArgument},
		"too large":           {"t", msg(strings.Repeat("x", 101)), bus.CodeTooLarge},
		"partition":           {"t", part, bus.CodeUnsupported},
		"negative partition":  {"t", neg, bus.CodeInvalidArgument},
		"unreadable time":     {"t", stamp, bus.CodeInvalidArgument},
		"context ended first": {"t", late, bus.CodeCanceled},
	} {
		err := b.Publish(c.topic, c.m)
		require.Equal(t, c.code, bus.CodeOf(err), "%s: %v", name, err)
		if c.m != nil && c.m != late {
			var got bus.Outcome
			b.PublishAsync(t.Context(), c.topic, c.m, func(o bus.Outcome) { got = o })
			require.Equal(t, c.code, bus.CodeOf(got.Err), name)
		}
	}
	require.NoError(t, b.Close())
	require.Equal(t, bus.CodeClosed, bus.CodeOf(b.Publish("t", msg("x"))))
	require.NoError(t, b.Close(), "Close is idempotent")
}

func TestPublishRecordKeepsAllFields(t *testing.T) {
	t.Parallel()
	s := newScript()
	var sent []driver.Outgoing
	s.publish = func(batch []driver.Outgoing) {
		sent = append(sent, kept(batch)...)
		batch[0].Complete(driver.Outcome{Partition: 7, Offset: 3})
	}
	seen := &published{}
	b := s.bus(t, bus.WithHooks(seen))
	publish := func(r *bus.Record) (got bus.Outcome) {
		calls := 0
		b.PublishRecord(t.Context(), r, func(o bus.Outcome) { got = o; calls++ })
		require.Equal(t, 1, calls)
		return got
	}
	when := time.Unix(1, 2)
	headers := []bus.Header{{Key: "b", Value: "1"}, {Key: "a", Value: "\xff"}, {Key: "b", Value: "2"}}
	r := &bus.Record{Topic: "t", Partition: 7, Key: []byte{0, 255}, Timestamp: when, UUID: "u", Headers: headers, Payload: []byte("p"),
		Offset: 99, DecodeErr: errors.New("has no effect")}
	require.Equal(t, bus.Outcome{Partition: 7, Offset: 3}, publish(r))
	require.NoError(t, publish(&bus.Record{Topic: "t", Partition: bus.AnyPartition}).Err)
	require.Len(t, sent, 2)
	o := sent[0]
	require.Equal(t, "t", o.Topic)
	require.EqualValues(t, 7, o.Partition)
	require.Equal(t, []byte{0, 255}, o.Key)
	require.Equal(t, when, o.Timestamp)
	require.Equal(t, "u", o.UUID)
	require.Equal(t, headers, o.Headers)
	require.Equal(t, "p", string(o.Payload))
	require.Equal(t, driver.Outgoing{Topic: "t", Partition: bus.AnyPartition}, driver.Outgoing{Topic: sent[1].Topic, Partition: sent[1].Partition,
		Key: sent[1].Key, Timestamp: sent[1].Timestamp, UUID: sent[1].UUID, Headers: sent[1].Headers, Payload: sent[1].Payload})
	require.Equal(t, "u", seen.messages[0].UUID, "hooks get a watermill message")
	require.Equal(t, "2", seen.messages[0].Metadata.Get("b"))

	for name, c := range map[string]struct {
		r    *bus.Record
		code bus.Code
	}{
		"nil":             {nil, bus.CodeInvalidArgument},
		"no topic":        {&bus.Record{}, bus.CodeInvalidArgument},
		"wrong partition": {&bus.Record{Topic: "t", Partition: -2}, bus.CodeInvalidArgument},
		"directive":       {&bus.Record{Topic: "t", Headers: []bus.Header{{Key: driver.KeyDirective, Value: "k"}}}, bus.CodeInvalidArgument},
		"too large":       {&bus.Record{Topic: "t", Key: make([]byte, 2<<20)}, bus.CodeTooLarge},
	} {
		require.Equal(t, c.code, bus.CodeOf(publish(c.r).Err), name)
	}
	require.Len(t, sent, 2, "the transport does not get invalid records")
	require.NoError(t, b.Close())
	require.Equal(t, bus.CodeClosed, bus.CodeOf(publish(r).Err))
}

// published records the messages that were published, in order.
type published struct{ messages []*message.Message }

func (p *published) OnPublish(e hook.PublishEvent) { p.messages = append(p.messages, e.Message) }

func TestPublishRecordReturnsUnsupportedForAMissingCapability(t *testing.T) {
	t.Parallel()
	s := newScript()
	s.caps.HeaderOrder, s.caps.Partitions = false, false
	s.publish = func([]driver.Outgoing) { t.Error("nothing of this may reach the transport") }
	b := s.bus(t)
	for name, r := range map[string]*bus.Record{
		"partition":    {Topic: "t", Partition: 0},
		"header twice": {Topic: "t", Partition: bus.AnyPartition, Headers: []bus.Header{{Key: "a"}, {Key: "b"}, {Key: "a"}}},
	} {
		b.PublishRecord(t.Context(), r, func(o bus.Outcome) { require.Equal(t, bus.CodeUnsupported, bus.CodeOf(o.Err), name) })
	}
	require.NoError(t, b.Close())
}

func TestContextThatEndsAfterPublishBeganGivesOutcomeUnknown(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newScript()
		var kept []driver.Outgoing
		s.publish = func(batch []driver.Outgoing) {
			for i := range batch {
				if string(batch[i].Payload) == "fast" {
					batch[i].Complete(driver.Outcome{Offset: 1})
					continue
				}
				kept = append(kept, batch[i])
			}
		}
		seen := &outcomes{}
		b := s.bus(t, bus.WithHooks(seen))
		slow, slower := msg("slow"), msg("slower")
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		slow.SetContext(ctx)
		begun := time.Now()
		err := b.Publish("t", msg("fast"), slow, slower)
		require.Equal(t, 30*time.Second, time.Since(begun), "the delivery time-out bounds the message without a deadline")
		var pe *bus.PublishError
		require.ErrorAs(t, err, &pe)
		require.NoError(t, pe.Outcomes[0].Err)
		for _, i := range []int{1, 2} {
			require.Equal(t, bus.CodeOutcomeUnknown, bus.CodeOf(pe.Outcomes[i].Err))
			require.ErrorIs(t, pe.Outcomes[i].Err, context.DeadlineExceeded)
		}
		require.Contains(t, err.Error(), "the outcome of 2 is unknown")
		// The real outcome comes later and goes to the hooks; the caller's error does not change.
		for i := range kept {
			kept[i].Complete(driver.Outcome{Offset: 2})
		}
		require.Equal(t, bus.CodeOutcomeUnknown, bus.CodeOf(pe.Outcomes[1].Err))
		require.Equal(t, 3, seen.count())
		require.NoError(t, b.Close())
	})
}

func TestPublishAsyncReportsALateOutcome(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newScript()
		var kept *driver.Outgoing
		s.publish = func(batch []driver.Outgoing) { kept = &batch[0] }
		b := s.bus(t)
		ctx, cancel := context.WithCancel(t.Context())
		var got []bus.Outcome
		b.PublishAsync(ctx, "t", msg("a"), func(o bus.Outcome) { got = append(got, o) })
		cancel()
		time.Sleep(time.Hour)
		require.Empty(t, got)
		closed := make(chan error, 1)
		go func() { closed <- b.Close() }()
		synctest.Wait()
		require.Equal(t, bus.CodeClosed, bus.CodeOf(b.Publish("t", msg("b"))), "no call begins while Close waits")
		kept.Complete(driver.Outcome{Offset: 7})
		require.NoError(t, <-closed)
		require.Equal(t, []bus.Outcome{{Offset: 7}}, got)
	})
}

func TestCloseTimesOutWhilePublishIsInProgress(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newScript()
		s.publish = func([]driver.Outgoing) {}
		b := s.bus(t, bus.WithCloseTimeout(time.Second), bus.WithDeliveryTimeout(time.Minute))
		published := make(chan error, 1)
		go func() { published <- b.Publish("t", msg("a")) }()
		synctest.Wait()
		begun := time.Now()
		err := b.Close()
		require.Equal(t, bus.CodeDeadlineExceeded, bus.CodeOf(err))
		require.Equal(t, time.Second, time.Since(begun))
		require.Equal(t, bus.CodeOutcomeUnknown, bus.CodeOf(<-published))
		require.Equal(t, err, b.Close(), "later calls return the result of the first")
	})
}

// outcomes counts the outcomes that the hook gets.
type outcomes struct {
	counter
}

func (o *outcomes) OnPublish(hook.PublishEvent) { o.add() }
