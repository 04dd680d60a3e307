package foreign_test

import (
	"context"
	"errors"
	"net"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/trunkline/trunkline/bus/driver"
	"github.com/trunkline/trunkline/transport/foreign"
)

func TestPublisherReceivesCopy(t *testing.T) {
	t.Parallel()
	type key struct{}
	synctest.Test(t, func(t *testing.T) {
		var got *message.Message
		var ctxValue any
		pub := &publisher{publish: func(topic string, m *message.Message) error {
			assert.Equal(t, "orders", topic)
			got, ctxValue = m, m.Context().Value(key{})
			return nil
		}}
		tr := open(t, pub, feed(nil))
		payload := []byte("payload")
		sink := newOutcomes(t)
		tr.Publish([]driver.Outgoing{{
			Context: context.WithValue(t.Context(), key{}, "value"), Topic: "orders", Partition: driver.AnyPartition,
			Key: []byte("k"), UUID: "id", Headers: []driver.Header{{Key: "trace", Value: "abc"}}, Payload: payload, Sink: sink,
		}})
		synctest.Wait()
		require.NoError(t, sink.err(t, 0))
		payload[0] = 'X'
		require.Equal(t, "id", got.UUID)
		require.Equal(t, "payload", string(got.Payload))
		require.Equal(t, message.Metadata{"trace": "abc", driver.KeyDirective: "k"}, got.Metadata)
		require.Equal(t, "value", ctxValue)
		require.NoError(t, tr.Close(t.Context()))
		require.Equal(t, 1, pub.closed)
	})
}

func TestPublisherErrorsHaveCodes(t *testing.T) {
	t.Parallel()
	plain := errors.New("queue is full")
	for name, c := range map[string]struct {
		err  error
		code driver.Code
	}{
		"plain":        {plain, driver.CodeUnknown},
		"dial":         {&net.OpError{Op: "dial", Err: errors.New("refused")}, driver.CodeUnavailable},
		"write":        {&net.OpError{Op: "write", Err: errors.New("reset")}, driver.CodeUnknown},
		"context":      {context.DeadlineExceeded, driver.CodeOutcomeUnknown},
		"driver error": {&driver.Error{Code: driver.CodeTooLarge}, driver.CodeTooLarge},
		"panicked":     {nil, driver.CodeInternal},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				tr := open(t, &publisher{publish: func(string, *message.Message) error {
					if c.err == nil {
						panic("send on closed channel")
					}
					return c.err
				}}, feed(nil))
				sink := newOutcomes(t)
				tr.Publish([]driver.Outgoing{outgoing(t.Context(), sink, "orders", 0)})
				synctest.Wait()
				require.Equal(t, c.code, sink.code(t, 0))
				if c.err != nil {
					require.ErrorIs(t, sink.err(t, 0), c.err)
				}
				require.NoError(t, tr.Close(t.Context()))
			})
		})
	}
}

func TestOrderedPublishesOneAtATime(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		now, most := map[string]int{}, 0
		var order []string
		tr := open(t, &publisher{publish: func(topic string, m *message.Message) error {
			mu.Lock()
			now[topic]++
			most = max(most, now[topic])
			if topic == "a" {
				order = append(order, m.UUID)
			}
			mu.Unlock()
			time.Sleep(time.Millisecond)
			mu.Lock()
			defer mu.Unlock()
			now[topic]--
			return nil
		}}, feed(nil), foreign.WithOrdered(), foreign.WithPublishConcurrency(8))
		sink := newOutcomes(t)
		var batch []driver.Outgoing
		for i := range 10 {
			batch = append(batch, outgoing(t.Context(), sink, "a", i))
		}
		tr.Publish(batch)
		require.NoError(t, tr.Close(t.Context()), "Close waits for running publishes")
		require.Equal(t, 10, sink.len())
		require.Equal(t, 1, most)
		require.Equal(t, []string{"0", "1", "2", "3", "4", "5", "6", "7", "8", "9"}, order)
	})
}

func TestBlockedPublisherDelaysOnlyItsTopic(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		unblock := make(chan struct{})
		tr := open(t, &publisher{publish: func(topic string, _ *message.Message) error {
			if topic == "blocked" {
				<-unblock
			}
			return nil
		}}, feed(nil), foreign.WithPublishConcurrency(2))
		sink := newOutcomes(t)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		tr.Publish([]driver.Outgoing{
			outgoing(ctx, sink, "blocked", 0), outgoing(t.Context(), sink, "blocked", 1),
			outgoing(ctx, sink, "blocked", 2), // waits for a slot
		})
		synctest.Wait()
		require.Equal(t, driver.CodeOutcomeUnknown, sink.code(t, 0), "the publisher has received the message")
		require.Equal(t, driver.CodeDeadlineExceeded, sink.code(t, 2), "the publisher has not received the message")
		require.Equal(t, 2, sink.len())

		tr.Publish([]driver.Outgoing{outgoing(t.Context(), sink, "other", 3)})
		synctest.Wait()
		require.NoError(t, sink.err(t, 3), "another topic is published")

		go tr.Publish([]driver.Outgoing{outgoing(t.Context(), sink, "blocked", 4)})
		synctest.Wait()
		soon, stop := context.WithTimeout(t.Context(), time.Second)
		defer stop()
		require.Equal(t, driver.CodeDeadlineExceeded, driver.CodeOf(tr.Close(soon)))
		require.Equal(t, driver.CodeOutcomeUnknown, sink.code(t, 1))
		require.Equal(t, driver.CodeClosed, sink.code(t, 4))
		require.Equal(t, driver.CodeDeadlineExceeded, driver.CodeOf(tr.Close(t.Context())), "later calls return the first result")
		tr.Publish([]driver.Outgoing{outgoing(t.Context(), sink, "other", 5)})
		require.Equal(t, driver.CodeClosed, sink.code(t, 5))
		close(unblock)
	})
}

func TestPublishDuringCloseSucceedsOrReturnsClosed(t *testing.T) {
	t.Parallel()
	for range 50 {
		tr := open(t, &publisher{publish: func(string, *message.Message) error { return nil }}, feed(nil))
		sink := newOutcomes(t)
		var wg sync.WaitGroup
		for p := range 4 {
			wg.Go(func() {
				for i := range 20 {
					tr.Publish([]driver.Outgoing{outgoing(t.Context(), sink, "orders", p*20+i)})
				}
			})
		}
		wg.Go(func() { _ = tr.Close(t.Context()) })
		wg.Wait()
		require.NoError(t, tr.Close(t.Context()))
		require.Equal(t, 80, sink.len())
		for i := range 80 {
			if err := sink.err(t, i); err != nil {
				require.Equal(t, driver.CodeClosed, driver.CodeOf(err))
			}
		}
	}
}

func TestPublishRejectsInvalidMessages(t *testing.T) {
	t.Parallel()
	tr := open(t, &publisher{publish: func(string, *message.Message) error { return nil }}, feed(nil))
	sink := newOutcomes(t)
	named := outgoing(t.Context(), sink, "orders", 0)
	named.Partition = 3
	ended, end := context.WithCancel(t.Context())
	end()
	tr.Publish([]driver.Outgoing{named, outgoing(t.Context(), sink, "", 1), outgoing(ended, sink, "orders", 2)})
	require.Equal(t, driver.CodeUnsupported, sink.code(t, 0))
	require.Equal(t, driver.CodeInvalidArgument, sink.code(t, 1))
	require.Equal(t, driver.CodeCanceled, sink.code(t, 2))
	require.NoError(t, tr.Close(t.Context()))
}
