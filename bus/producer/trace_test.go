package producer_test

import (
	"context"
	"testing"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/stretchr/testify/require"

	"github.com/trunkline/trunkline/bus"
	"github.com/trunkline/trunkline/bus/producer"
	"github.com/trunkline/trunkline/transport/memory"
)

type contextKey string

// tracer records the values that tracers see in the context of a publish.
type tracer struct{ values chan [2]any }

func (tr *tracer) StartPublish(ctx context.Context, _, _ string, _ *message.Message) (map[string]string, func(bus.Outcome)) {
	tr.values <- [2]any{ctx.Value(contextKey("call")), ctx.Value(contextKey("both"))}
	return nil, nil
}

func TestTracersGetTheContextOfTheCall(t *testing.T) {
	t.Parallel()
	transport, err := memory.New()
	require.NoError(t, err)
	tr := &tracer{make(chan [2]any, 1)}
	b, err := bus.New(transport, bus.WithHooks(tr))
	require.NoError(t, err)
	t.Cleanup(func() { b.Close() })
	require.NoError(t, b.CreateTopic(t.Context(), bus.TopicSpec{Name: topic, Partitions: 1}))
	p, err := producer.New(b, topic)
	require.NoError(t, err)
	t.Cleanup(func() { p.Close() })
	typed, err := producer.NewTyped[order](p, nil)
	require.NoError(t, err)

	call := context.WithValue(context.WithValue(t.Context(), contextKey("call"), 1), contextKey("both"), 1)
	ofMessage := context.WithValue(context.WithValue(t.Context(), contextKey("message"), 2), contextKey("both"), 2)
	m := msg("", "a")
	m.SetContext(ofMessage)
	for name, send := range map[string]func() error{
		"Send":             func() error { _, err := p.Send(call, m); return err },
		"SendAsync":        func() error { _, err := p.SendAsync(call, m); return err },
		"Typed, Send":      func() error { _, err := typed.Send(call, order{}); return err },
		"Typed, SendAsync": func() error { _, err := typed.SendAsync(call, order{}); return err },
	} {
		require.NoError(t, send(), name)
		require.Equal(t, [2]any{1, 1}, <-tr.values, name)
		require.NoError(t, p.Flush(t.Context()))
	}

	m.SetContext(context.WithValue(t.Context(), contextKey("call"), 2))
	_, err = p.Send(t.Context(), m)
	require.NoError(t, err)
	require.Equal(t, [2]any{2, nil}, <-tr.values, "the message's context has values that the call's does not have")
}
