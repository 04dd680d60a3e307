package codec_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/stretchr/testify/require"

	"github.com/trunkline/trunkline/bus"
	"github.com/trunkline/trunkline/bus/codec"
	"github.com/trunkline/trunkline/bus/deadletter"
	_ "github.com/trunkline/trunkline/transport/memory" // for memory://
)

func TestHandlerDecodesOrDeadLetters(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	b, err := bus.Open(ctx, "memory://?create=true")
	require.NoError(t, err)
	defer b.Close()

	handled, dead := make(chan string, 4), make(chan *bus.Delivery, 4)
	_, err = b.Consume(ctx, "dead", func(_ context.Context, d *bus.Delivery) error { dead <- d; return nil }, bus.FromOldest())
	require.NoError(t, err)
	retried := false
	_, err = b.Consume(ctx, "orders", codec.Handler(codec.JSON, func(_ context.Context, o order, d *bus.Delivery) error {
		if o.ID == "retried" && !retried {
			retried = true
			return bus.RetryAfter(0, errors.New("not yet"))
		}
		handled <- fmt.Sprintf("%s for %s, attempt %d", o.ID, string(d.Key), d.Attempt)
		return nil
	}), bus.Group("g"), bus.DeadLetterTopic("dead"))
	require.NoError(t, err)

	publish := func(m *message.Message, err error) {
		require.NoError(t, err)
		bus.SetKey(m, "ada")
		require.NoError(t, b.Publish("orders", m))
	}
	publish(codec.Encode(codec.JSON, order{"first"}))
	publish(message.NewMessage("u", []byte("{")), nil)
	publish(codec.Encode(codec.Raw, []byte("{}")))
	publish(codec.Encode(codec.JSON, order{"retried"}))
	require.Equal(t, "first for ada, attempt 1", receive(ctx, t, handled))
	require.Equal(t, "retried for ada, attempt 2", receive(ctx, t, handled), "the error of the function applies")
	for _, cause := range []string{"cannot decode the payload into codec_test.order as application/json", `the content type is "application/octet-stream", expected "application/json"`} {
		d := receive(ctx, t, dead)
		require.Contains(t, d.Message().Metadata.Get(deadletter.CauseHeader), cause)
		require.Equal(t, "undecodable", d.Message().Metadata.Get(deadletter.CodeHeader))
		require.Equal(t, "ada", string(d.Key))
	}

	_, err = b.Consume(ctx, "orders", codec.Handler[order](nil, nil))
	require.Equal(t, bus.CodeInvalidArgument, bus.CodeOf(err))
}

// receive fails the test if ctx ends first.
func receive[T any](ctx context.Context, t *testing.T, from <-chan T) (v T) {
	t.Helper()
	select {
	case v = <-from:
	case <-ctx.Done():
		require.FailNow(t, "nothing received", ctx.Err())
	}
	return v
}
