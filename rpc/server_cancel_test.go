package rpc_test

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/trunkline/trunkline/bus"
	"github.com/trunkline/trunkline/rpc"
	"github.com/trunkline/trunkline/rpc/frame"
)

// The cancel message ends the context of a handler that runs, and prevents a handler that
// waits. The server sends no reply.
func TestCancelMessageEndsOrPreventsTheHandler(t *testing.T) {
	onEveryTransport(t, func(w *fixture) {
		topic := w.topic("calc", 1)
		s := w.server(bus.Concurrency(1))
		c := w.client()
		require.NoError(w, c.Ready(w.ctx))
		begun, ended := make(chan string, 10), make(chan error, 10)
		handle(w, s, "wait", func(ctx context.Context, _ *number) (*number, error) {
			info, _ := rpc.FromContext(ctx)
			begun <- info.ID
			<-ctx.Done()
			ended <- context.Cause(ctx)
			return nil, ctx.Err()
		})
		handle(w, s, "double", double)
		w.start(s, topic)
		request := func(id string) {
			w.publish(topic, &frame.Frame{Kind: frame.KindRequest, ID: id, Caller: "x", Method: "wait", Key: "k" + id, ReplyTo: "trunkline.reply.nobody", ReplyPartition: -1, Body: []byte(`{}`)})
		}
		cancel := func(id string) {
			w.publish(topic, &frame.Frame{Kind: frame.KindCancel, ID: id, Caller: "x", ReplyPartition: -1})
		}
		request("1")
		require.Equal(w, "1", receive(w, begun))
		request("2")
		cancel("2") // waits for a slot
		cancel("other")
		w.eventually("the server has read both cancel messages", func() bool { return s.Stats().CancelMessages == 2 })
		cancel("1")
		require.ErrorIs(w, receive(w, ended), context.Canceled)
		_, err := rpc.Call[number](w.ctx, c, topic, "double", &number{1})
		require.NoError(w, err)
		w.eventually("both requests were canceled", func() bool { return s.Stats().Canceled == 2 })
		require.Empty(w, begun)
		require.Zero(w, s.Stats().RepliesDropped, "the server sends no reply")
		require.Zero(w, s.Stats().Ignored)
	})
}

func TestCancelMessagesForUnknownRequestsAreBounded(t *testing.T) {
	t.Parallel()
	w := inMemory(t)
	topic := w.topic("calc", 1)
	s := w.server()
	handle(w, s, "double", double)
	w.start(s, topic)
	for i := range 3000 {
		w.publish(topic, &frame.Frame{Kind: frame.KindCancel, ID: fmt.Sprint(i), Caller: "x", ReplyPartition: -1})
	}
	w.eventually("the server has read all cancel messages", func() bool { return s.Stats().CancelMessages == 3000 })
	for i := range 3000 {
		w.publish(topic, &frame.Frame{Kind: frame.KindRequest, ID: fmt.Sprint(i), Caller: "x", Method: "double", ReplyPartition: -1, Body: []byte(`{}`), Deadline: w.deadline()})
	}
	w.eventually("every request was handled or canceled", func() bool { n := s.Stats(); return n.Handled+n.Canceled == 3000 })
	require.EqualValues(t, 1024, s.Stats().Canceled)
}

// The callers are different. An error answers only the request that it was made for.
func TestRequestsWithTheSameIdempotencyKeyRunOnce(t *testing.T) {
	onEveryTransport(t, func(w *fixture) {
		topic := w.topic("calc", 1)
		s := w.server()
		c := w.client()
		require.NoError(w, c.Ready(w.ctx))
		replies := w.capture(c.ReplyTopic())
		runs := 0
		handle(w, s, "count", func(ctx context.Context, _ *number) (*number, error) {
			info, _ := rpc.FromContext(ctx)
			assert.NotEmpty(w, info.IdempotencyKey)
			if runs++; runs == 1 {
				return nil, errors.New("first")
			}
			return &number{runs}, nil
		})
		handle(w, s, "other", func(context.Context, *number) (*number, error) { return &number{-1}, nil })
		w.start(s, topic)
		send := func(caller, id, method, key string) frame.Frame {
			w.publish(topic, &frame.Frame{Kind: frame.KindRequest, ID: id, Caller: caller, Method: method, Key: "k", IdempotencyKey: key, ReplyTo: c.ReplyTopic(), ReplyPartition: -1, Body: []byte(`{}`)})
			return receive(w, replies)
		}
		require.Equal(w, "first", send("a", "1", "count", "K").Status.Message())
		require.Equal(w, "first", send("a", "1", "count", "K").Status.Message(), "a repeated request gets the first reply")
		for _, caller := range []string{"a", "b", "c"} {
			f := send(caller, "2", "count", "K")
			require.Equal(w, `{"N":2}`, string(f.Body))
			require.Equal(w, caller, f.Caller, "each caller gets its own reply")
		}
		require.Equal(w, `{"N":3}`, string(send("a", "3", "count", "L").Body))
		require.Equal(w, `{"N":-1}`, string(send("a", "4", "other", "K").Body))
	})
}

func TestServersWithoutGroupAllAnswer(t *testing.T) {
	onEveryTransport(t, func(w *fixture) {
		topic := w.topic("calc", 2)
		c := w.client()
		require.NoError(w, c.Ready(w.ctx))
		replies := w.capture(c.ReplyTopic())
		for i := range 3 {
			s := w.server(bus.NoGroup(), rpc.WithInstance(fmt.Sprint("i", i)))
			require.Equal(w, fmt.Sprint("i", i), s.ID())
			handle(w, s, "double", double)
			w.start(s, topic)
		}
		send := func(id, server string) {
			w.publish(topic, &frame.Frame{Kind: frame.KindRequest, ID: id, Caller: "x", Method: "double", Server: server, ReplyTo: c.ReplyTopic(), ReplyPartition: -1, Body: []byte(`{}`)})
		}
		send("1", frame.AnyServer)
		who := []string{receive(w, replies).Server, receive(w, replies).Server, receive(w, replies).Server}
		require.ElementsMatch(w, []string{"i0", "i1", "i2"}, who)
		send("2", "")
		for range 3 {
			f := receive(w, replies)
			require.Equal(w, "2", f.ID)
			require.Empty(w, f.Server)
		}
	})
}
