package consumer_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/stretchr/testify/require"

	"github.com/trunkline/trunkline/bus"
	"github.com/trunkline/trunkline/bus/consumer"
)

// The messages that a watermill handler produces are published before its message is
// acknowledged.
func TestWatermillPublisherPublishesBeforeAcknowledging(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, 1)
		out := r.letters(t, "out")
		var order journal
		log := func(name string) message.HandlerMiddleware {
			return func(h message.HandlerFunc) message.HandlerFunc {
				return func(m *message.Message) ([]*message.Message, error) {
					order.add("%s", name)
					return h(m)
				}
			}
		}
		// This middleware is like watermill's CorrelationID, whose package has more dependencies.
		correlation := func(h message.HandlerFunc) message.HandlerFunc {
			return func(m *message.Message) ([]*message.Message, error) {
				produced, err := h(m)
				for _, p := range produced {
					p.Metadata.Set("correlation_id", m.Metadata.Get("correlation_id"))
				}
				return produced, err
			}
		}
		failed := false
		h := func(m *message.Message) ([]*message.Message, error) {
			if m.UUID == "id-1" && !failed {
				failed = true
				panic("boom")
			}
			produced := message.NewMessage("made-of-"+m.UUID, m.Payload)
			return []*message.Message{produced}, nil
		}
		c := r.consumer(t, consumer.WatermillPublisher(r.Bus, "out", h, log("outer"), log("inner"), correlation))
		m := message.NewMessage("id-0", []byte("0"))
		m.Metadata.Set("correlation_id", "corr")
		require.NoError(t, r.Publish("t", m))
		r.publish(t, 1, 1, nil)
		consuming(t, c)
		elapse(time.Minute)
		require.Equal(t, []string{"outer", "inner"}, order.all()[:2])
		require.Len(t, out.all, 2)
		require.Equal(t, "made-of-id-0", out.all[0].UUID)
		require.Equal(t, "corr", out.all[0].Message().Metadata.Get("correlation_id"))
		require.Equal(t, "made-of-id-1", out.all[1].UUID)
		require.EqualValues(t, 1, c.Stats().Failed)
		require.EqualValues(t, 2, r.committed(0))
	})
}

// Ack and Nack on the message have an effect, as in a Router.
func TestWatermillAckAndNack(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		h       bus.Handler
		handled bool
	}{
		"nil":    {consumer.Watermill(func(*message.Message) ([]*message.Message, error) { return nil, nil }), true},
		"error":  {consumer.Watermill(func(*message.Message) ([]*message.Message, error) { return nil, errTest }), false},
		"acked":  {consumer.Watermill(func(m *message.Message) ([]*message.Message, error) { m.Ack(); return nil, errTest }), true},
		"nacked": {consumer.WatermillNoPublish(func(m *message.Message) error { m.Nack(); return nil }), false},
		"produced": {consumer.Watermill(func(m *message.Message) ([]*message.Message, error) {
			return []*message.Message{m}, nil
		}), false},
		"not published": {consumer.WatermillPublisher(nowhere{}, "out", func(m *message.Message) ([]*message.Message, error) {
			return []*message.Message{m.Copy()}, nil
		}), false},
		"the handler's context": {consumer.WatermillNoPublish(func(m *message.Message) error {
			if m.Context().Value(ctxKey{}) == nil {
				return errTest
			}
			return nil
		}), true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ctx := context.WithValue(t.Context(), ctxKey{}, true)
			err := tc.h(ctx, &bus.Delivery{Record: &bus.Record{Topic: "t", UUID: "id"}, Attempt: 1, Context: ctx})
			require.Equal(t, tc.handled, err == nil, "%v", err)
		})
	}
}

type ctxKey struct{}

type nowhere struct{}

func (nowhere) Publish(string, ...*message.Message) error { return errors.New("no") }
func (nowhere) Close() error                              { return nil }
