package rpc_test

import (
	"context"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/stretchr/testify/require"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/trunkline/trunkline/bus"
	"github.com/trunkline/trunkline/bus/driver"
	"github.com/trunkline/trunkline/rpc"
	"github.com/trunkline/trunkline/rpc/frame"
	"github.com/trunkline/trunkline/transport/memory"
)

func TestStrayRepliesAreCountedAndDropped(t *testing.T) {
	onEveryTransport(t, func(w *fixture) {
		topic := w.topic("manual", 1)
		requests := w.capture(topic)
		c := w.client()

		answered := w.call(w.ctx, c, topic, "m")
		f := receive(w, requests)
		require.Equal(w, c.ReplyTopic(), f.ReplyTo)
		w.publish(f.ReplyTo, reply(f, `{"N":1}`))
		require.Equal(w, 1, receive(w, answered).n.N)
		w.publish(f.ReplyTo, reply(f, `{"N":2}`)) // duplicate

		ctx, cancel := context.WithCancel(w.ctx)
		gone := w.call(ctx, c, topic, "m")
		f = receive(w, requests)
		cancel()
		e := requireError(w, receive(w, gone).err, codes.Canceled, false)
		require.ErrorIs(w, e, context.Canceled)
		w.publish(f.ReplyTo, reply(f, `{"N":3}`)) // late
		w.publish(f.ReplyTo, reply(f, `{"N":3}`)) // and a duplicate of it

		foreign := reply(f, `{"N":4}`)
		foreign.Caller = "somebody.else"
		w.publish(f.ReplyTo, foreign)
		request := f
		w.publish(f.ReplyTo, &request)
		otherID := reply(f, `{"N":4}`)
		otherID.ID = "1" // does not begin with the prefix of the client's ids
		w.publish(f.ReplyTo, otherID)
		require.NoError(w, w.bus.Publish(f.ReplyTo, message.NewMessage("x", []byte("no frame at all"))))

		w.eventually("all stray replies are counted", func() bool {
			n := c.Stats()
			return n.DuplicateReplies == 2 && n.LateReplies == 1 && n.ForeignReplies == 3 && n.UndecodableReplies == 1
		})
		last := w.call(w.ctx, c, topic, "m")
		f = receive(w, requests)
		w.publish(f.ReplyTo, reply(f, `{"N":5}`))
		require.Equal(w, 5, receive(w, last).n.N)
	})
}

// Otherwise anyone who can write to a reply topic could make clients write to arbitrary
// topics.
func TestReaderAnswersOnlyToReplyTopics(t *testing.T) {
	t.Parallel()
	w := inMemory(t)
	victim := w.topic("orders", 1)
	answers := w.capture(victim)
	c := w.client()
	require.NoError(t, c.Ready(w.ctx))
	ask := &frame.Frame{Kind: frame.KindRequest, ID: "1", Caller: "x", Method: "trunkline.alive", ReplyTo: victim, ReplyPartition: -1}
	w.publish(c.ReplyTopic(), ask)
	w.eventually("the request is counted as foreign", func() bool { return c.Stats().ForeignReplies == 1 })
	ask.ReplyTo = w.topic("trunkline.reply.asker", 1)
	allowed := w.capture(ask.ReplyTo)
	w.publish(c.ReplyTopic(), ask)
	require.Equal(t, "1", receive(w, allowed).ID)
	require.Empty(t, answers)
}

func TestUndecodableReplyEndsItsCall(t *testing.T) {
	onEveryTransport(t, func(w *fixture) {
		topic := w.topic("manual", 1)
		requests := w.capture(topic)
		c := w.client()

		headers := w.call(w.ctx, c, topic, "m")
		f := receive(w, requests)
		m, err := encode(reply(f, `{}`))
		require.NoError(w, err)
		setHeader(m, frame.HeaderFrame, "2 reply")
		w.publishTo(f.ReplyTo, bus.AnyPartition, m)
		requireError(w, receive(w, headers).err, codes.Internal, false)

		body := w.call(w.ctx, c, topic, "m")
		f = receive(w, requests)
		w.publish(f.ReplyTo, reply(f, `{`))
		requireError(w, receive(w, body).err, codes.Internal, false)

		codec := w.call(w.ctx, c, topic, "m")
		f = receive(w, requests)
		unknown := reply(f, `{}`)
		unknown.ContentType = "text/x-nobody-knows"
		w.publish(f.ReplyTo, unknown)
		requireError(w, receive(w, codec).err, codes.Internal, false)
		require.EqualValues(w, 3, c.Stats().UndecodableReplies)
	})
}

func TestErrorOfAnEarlierAttemptDoesNotEndTheCall(t *testing.T) {
	t.Parallel()
	w := inMemory(t)
	topic := w.topic("manual", 1)
	requests := w.capture(topic)
	c := w.client()
	r := w.call(w.ctx, c, topic, "m", rpc.Retry(rpc.RetryPolicy{Max: 1, MinBackoff: time.Millisecond}))
	first := receive(w, requests)
	no := reply(first, "")
	no.Status = status.New(codes.Unavailable, "no")
	w.publish(first.ReplyTo, no)
	second := receive(w, requests)
	require.Equal(t, first.ID, second.ID)
	require.Equal(t, 2, second.Attempt)
	w.publish(first.ReplyTo, no) // as from a server that answers the first attempt twice
	w.publish(first.ReplyTo, reply(second, `{"N":7}`))
	got := receive(w, r)
	require.NoError(t, got.err)
	require.Equal(t, 7, got.n.N)
	require.EqualValues(t, 1, c.Stats().DuplicateReplies)
}

func TestReplyTopicIsDeletedOnClose(t *testing.T) {
	t.Parallel()
	w := inMemory(t)
	c := w.client()
	require.NoError(t, c.Ready(w.ctx))
	topics, err := w.bus.ListTopics(w.ctx)
	require.NoError(t, err)
	require.Contains(t, topics, c.ReplyTopic())
	require.NoError(t, c.Close())
	require.NoError(t, c.Close())
	topics, err = w.bus.ListTopics(w.ctx)
	require.NoError(t, err)
	require.NotContains(t, topics, c.ReplyTopic())
	_, err = rpc.Call[number](w.ctx, c, "t", "m", 1)
	require.False(t, requireError(t, err, codes.Unavailable, false).Retryable())
	requireError(t, c.Ready(w.ctx), codes.Unavailable, false)
}

func TestReaderRecreatesItsDeletedTopic(t *testing.T) {
	t.Parallel()
	w := inMemory(t)
	topic := w.topic("calc", 1)
	s := w.server()
	handle(w, s, "double", double)
	w.start(s, topic)
	c := w.client()
	for range 3 { // the new topic begins before the offset that the reader has reached
		_, err := rpc.Call[number](w.ctx, c, topic, "double", &number{1})
		require.NoError(t, err)
	}
	require.NoError(t, w.bus.DeleteTopic(w.ctx, c.ReplyTopic()))
	w.eventually("the client creates the topic again", func() bool {
		_, err := w.bus.DescribeTopic(w.ctx, c.ReplyTopic())
		return err == nil
	})
	got, err := rpc.Call[number](w.ctx, c, topic, "double", &number{4}, rpc.Retry(rpc.RetryPolicy{Max: 3}))
	require.NoError(t, err)
	require.Equal(t, 8, got.N)
}

// The server may have a request whose outcome is unknown, and a reply may arrive before the
// outcome of its request.
func TestReplyEndsTheCallWhateverTheOutcome(t *testing.T) {
	t.Parallel()
	for _, code := range []bus.Code{bus.CodeOutcomeUnknown, bus.CodeUnavailable} {
		t.Run(code.String(), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				var held atomic.Pointer[driver.Outgoing]
				w := tappedMemory(t, func(o *driver.Outgoing) bool {
					if o.Topic != "calc" {
						return false
					}
					kept := *o
					if code == bus.CodeOutcomeUnknown {
						kept.Complete(driver.Failed(&bus.Error{Code: code, Op: "publish"}))
					} else {
						held.Store(&kept)
					}
					return true
				})
				topic := w.topic("calc", 1)
				c := w.client()
				r := w.call(w.ctx, c, topic, "m")
				synctest.Wait()
				require.Equal(t, 1, c.Stats().Pending)
				// The reply, made by the test: the id is that of the client's first call.
				w.publish(c.ReplyTopic(), reply(frame.Frame{ID: c.ID()[len("client."):] + "-1", Caller: c.ID(), Attempt: 1}, `{"N":1}`))
				got := <-r
				require.NoError(t, got.err)
				if o := held.Load(); o != nil {
					o.Complete(driver.Failed(&bus.Error{Code: code, Op: "publish"})) // too late to have an effect
				} else {
					require.EqualValues(t, 1, c.Stats().OutcomeUnknown)
				}
			})
		})
	}
}

// An undecodable record ends a subscription. The reader continues after it, and loses no
// reply.
func TestReaderSkipsUndecodableRecords(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		open := onMemory(t)
		w := newFixture(t, func() driver.Transport {
			m := open().(*memory.Transport)
			return poisoned{m, m}
		})
		topic := w.topic("manual", 1)
		requests := w.capture(topic)
		c := w.client()
		poison := func() *message.Message { return message.NewMessage("", []byte("poison")) }
		first := w.call(w.ctx, c, topic, "m")
		f := <-requests
		require.NoError(t, w.bus.Publish(f.ReplyTo, poison()))
		w.publish(f.ReplyTo, reply(f, `{"N":1}`))
		require.NoError(t, (<-first).err)

		second := w.call(w.ctx, c, topic, "m")
		f = <-requests
		require.NoError(t, w.bus.Publish(f.ReplyTo, poison(), poison()))
		w.publish(f.ReplyTo, reply(f, `{"N":2}`))
		got := <-second
		require.NoError(t, got.err)
		require.Equal(t, 2, got.n.N)
		require.EqualValues(t, 3, c.Stats().UndecodableReplies)
		require.Zero(t, c.Stats().DuplicateReplies)
	})
}
