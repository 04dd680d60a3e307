package rpc_test

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/trunkline/trunkline/bus"
	"github.com/trunkline/trunkline/bus/driver"
	"github.com/trunkline/trunkline/rpc"
	"github.com/trunkline/trunkline/rpc/frame"
)

func TestUndecodableMessagesAreAnsweredOrDeadLetters(t *testing.T) {
	onEveryTransport(t, func(w *fixture) {
		topic, dead := w.topic("served", 1), w.topic("dead", 1)
		letters := make(chan string, 10)
		sub, err := w.bus.Consume(w.ctx, dead, func(_ context.Context, d *bus.Delivery) error {
			letters <- string(d.Payload)
			return nil
		})
		require.NoError(w, err)
		require.NoError(w, sub.Ready(w.ctx))
		w.Cleanup(func() { require.NoError(w, sub.Shutdown(w.ctx)) })
		s := w.server(bus.DeadLetterTopic(dead))
		handle(w, s, "double", double)
		w.start(s, topic)
		c := w.client()

		require.NoError(w, w.bus.Publish(topic, message.NewMessage("x", []byte("poison"))))
		require.Equal(w, "poison", receive(w, letters))

		// A client of a later version gets an answer, because its headers can be read.
		require.NoError(w, c.Ready(w.ctx))
		replies := w.capture(c.ReplyTopic())
		m, err := encode(&frame.Frame{Kind: frame.KindRequest, ID: "1", Caller: "later.1", ReplyTo: c.ReplyTopic(), ReplyPartition: -1, Method: "double"})
		require.NoError(w, err)
		setHeader(m, frame.HeaderFrame, "9 request")
		w.publishTo(topic, bus.AnyPartition, m)
		f := receive(w, replies)
		require.Equal(w, "1", f.ID)
		require.Equal(w, codes.Unimplemented, f.Status.Code())
		require.Empty(w, receive(w, letters))

		// The server ignores frames that are not requests.
		w.publish(topic, &frame.Frame{Kind: frame.KindReply, ID: "2", Caller: "x", Attempt: 1})
		w.publish(topic, &frame.Frame{Kind: frame.KindCancel, ID: "3", Caller: "x", Attempt: 1})
		w.publish(topic, &frame.Frame{Kind: frame.KindMessage, ID: "4", Caller: "x", Method: "double", ReplyTo: c.ReplyTopic(), ReplyPartition: -1})
		require.Equal(w, codes.Unimplemented, receive(w, replies).Status.Code())
		_, err = rpc.Call[number](w.ctx, c, topic, "double", "a string")
		requireError(w, err, codes.InvalidArgument, true)
		n, err := rpc.Call[number](w.ctx, c, topic, "double", &number{1})
		require.NoError(w, err)
		require.Equal(w, 2, n.N)
		require.EqualValues(w, 2, s.Stats().Undecodable)
		// One of the frames has no answer, and may not have been read yet.
		w.eventually("the server has ignored the other frames", func() bool { return s.Stats().Ignored == 2 })
	})
}

func TestServerSendsRepliesToAllowedTopicsOnly(t *testing.T) {
	t.Parallel()
	w := inMemory(t)
	topic, victim := w.topic("served", 1), w.topic("orders", 1)
	s := w.server()
	handle(w, s, "double", double)
	w.start(s, topic)
	w.publish(topic, &frame.Frame{Kind: frame.KindRequest, ID: "1", Caller: "x", Method: "double", ReplyTo: victim, ReplyPartition: -1, Body: []byte(`{}`)})
	w.eventually("the server refuses the reply topic", func() bool { return s.Stats().RepliesRefused == 1 })
	require.Zero(t, s.Stats().Handled)

	// A deleted reply topic is not created again, and does not delay other requests.
	gone := "trunkline.reply.gone"
	w.publish(topic, &frame.Frame{Kind: frame.KindRequest, ID: "2", Caller: "x", Method: "double", ReplyTo: gone, ReplyPartition: -1, Body: []byte(`{}`)})
	w.eventually("the server drops the reply", func() bool { return s.Stats().RepliesDropped == 1 })
	topics, err := w.bus.ListTopics(w.ctx)
	require.NoError(t, err)
	require.NotContains(t, topics, gone)

	// A one-way request has no reply.
	w.publish(topic, &frame.Frame{Kind: frame.KindRequest, ID: "3", Caller: "x", Method: "double", ReplyPartition: -1, Body: []byte(`{}`)})
	w.eventually("both requests are handled", func() bool { return s.Stats().Handled == 2 && s.Stats().InFlight == 0 })
}

// The server does not answer a message that is not a request, or whose reply topic is not
// allowed.
func TestUndecodableMessagesAreAnsweredOnlyIfTheyAreRequests(t *testing.T) {
	t.Parallel()
	w := inMemory(t)
	topic, victim := w.topic("served", 1), w.topic("orders", 1)
	replyTo := w.topic("trunkline.reply.x", 1)
	replies, stolen := w.capture(replyTo), w.capture(victim)
	s := w.server()
	handle(w, s, "double", double)
	w.start(s, topic)
	for i, f := range []*frame.Frame{
		{Kind: frame.KindCancel, ID: "cancel", ReplyTo: replyTo},
		{Kind: frame.KindReply, ID: "reply", ReplyTo: replyTo},
		{Kind: frame.KindRequest, ID: "stolen", ReplyTo: victim},
		{Kind: frame.KindRequest, ID: "request", ReplyTo: replyTo},
	} {
		f.Caller, f.ReplyPartition = "x", -1
		m, err := encode(f)
		require.NoError(t, err)
		setHeader(m, frame.HeaderAttempt, "0")
		w.publishTo(topic, bus.AnyPartition, m)
		w.eventually("the server has read the message", func() bool { return s.Stats().Undecodable == uint64(i+1) })
	}
	got := receive(w, replies)
	require.Equal(t, "request", got.ID)
	require.Equal(t, codes.InvalidArgument, got.Status.Code())
	require.Empty(t, replies)
	require.Empty(t, stolen)
}

// The details are too large for the wire.
func TestErrorThatCannotBeSentKeepsItsCode(t *testing.T) {
	t.Parallel()
	w := inMemory(t)
	topic := w.topic("calc", 1)
	s := w.server()
	st, err := status.New(codes.NotFound, "no such number").WithDetails(&errdetails.ErrorInfo{Reason: strings.Repeat("x", 100_000)})
	require.NoError(t, err)
	handle(w, s, "fail", func(context.Context, *number) (*number, error) { return nil, st.Err() })
	w.start(s, topic)
	_, err = rpc.Call[number](w.ctx, w.client(), topic, "fail", &number{})
	require.ErrorContains(t, requireError(t, err, codes.NotFound, true), "cannot be sent")
}

func TestExpiredRequestIsNotRun(t *testing.T) {
	onEveryTransport(t, func(w *fixture) {
		topic := w.topic("calc", 1)
		s, c := w.server(rpc.WithClockSkew(time.Minute)), w.client()
		require.NoError(w, c.Ready(w.ctx))
		var ran atomic.Int64
		handle(w, s, "run", func(ctx context.Context, n *number) (*number, error) { ran.Add(1); return n, nil })
		w.start(s, topic)
		for i, ago := range []time.Duration{2 * time.Minute, 30 * time.Second} {
			w.publish(topic, &frame.Frame{Kind: frame.KindRequest, ID: fmt.Sprint(i), Caller: "x", Method: "run", ReplyTo: c.ReplyTopic(), ReplyPartition: -1,
				Deadline: time.Now().Add(-ago), Body: []byte(`{}`)})
		}
		w.eventually("the second, within the skew, is run", func() bool { return s.Stats().Handled == 1 })
		w.eventually("the first, beyond the skew, is not run", func() bool { return s.Stats().Expired == 1 })
		require.EqualValues(w, 1, ran.Load())
	})
}

func TestHandlerContextEndsAtTheDeadline(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := inMemory(t)
		topic := w.topic("slow", 1)
		s := w.server()
		ended := make(chan error, 1)
		handle(w, s, "wait", func(ctx context.Context, _ *number) (*number, error) {
			assert.NoError(t, ctx.Err())
			child, cancel := context.WithCancel(ctx)
			defer cancel()
			<-child.Done()
			ended <- context.Cause(ctx)
			return nil, ctx.Err()
		})
		w.start(s, topic)
		begun := time.Now()
		_, err := rpc.Call[number](w.ctx, w.client(), topic, "wait", &number{}, rpc.Timeout(5*time.Second))
		require.Equal(t, codes.DeadlineExceeded, rpc.CodeOf(err))
		require.ErrorIs(t, <-ended, context.DeadlineExceeded)
		require.Equal(t, 5*time.Second, time.Since(begun))
	})
}

func TestRequestsOfAKeyRunInOrder(t *testing.T) {
	onEveryTransport(t, func(w *fixture) {
		const keys, each = 64, 20
		topic := w.topic("devices", 4)
		s := w.server()
		var mu sync.Mutex
		next := map[string]int{}
		handle(w, s, "step", func(ctx context.Context, n *number) (*number, error) {
			info, _ := rpc.FromContext(ctx)
			mu.Lock()
			defer mu.Unlock()
			if want := next[info.Key]; n.N != want {
				return nil, fmt.Errorf("key %s: got request %d, want %d", info.Key, n.N, want)
			}
			next[info.Key]++
			return n, nil
		})
		w.start(s, topic)
		c := w.client()
		require.NoError(w, c.Ready(w.ctx))
		// One goroutine publishes all requests in order, and does not wait for replies.
		replyTo := c.ReplyTopic()
		for i := range each {
			for k := range keys {
				f := &frame.Frame{Kind: frame.KindRequest, ID: fmt.Sprintf("%d-%d", k, i), Caller: "x", Method: "step", Key: fmt.Sprint("dev", k),
					ReplyTo: replyTo, ReplyPartition: -1, Body: fmt.Appendf(nil, `{"N":%d}`, i)}
				w.publish(topic, f)
			}
		}
		w.eventually("all are handled", func() bool { return s.Stats().Handled == keys*each })
		if w.bus.Capabilities().Ordered {
			require.Zero(w, s.Stats().Failed)
		}
	})
}

// Each handler waits for the other.
func TestDifferentKeysOfAPartitionRunConcurrently(t *testing.T) {
	onEveryTransport(t, func(w *fixture) {
		if caps := w.bus.Capabilities(); !caps.Ordered || !caps.Keys {
			w.Skipf("%s does not order by key", caps.Name)
		}
		topic := w.topic("meeting", 1)
		s := w.server()
		var both sync.WaitGroup
		both.Add(2)
		handle(w, s, "meet", func(_ context.Context, n *number) (*number, error) {
			both.Done()
			both.Wait()
			return n, nil
		})
		w.start(s, topic)
		c := w.client()
		a, b := w.call(w.ctx, c, topic, "meet", rpc.Key("a")), w.call(w.ctx, c, topic, "meet", rpc.Key("b"))
		require.NoError(w, receive(w, a).err)
		require.NoError(w, receive(w, b).err)
	})
}

func TestFailedReplyIsPublishedAgainWithoutRunningTwice(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var failures atomic.Int64
		failures.Store(2)
		w := tappedMemory(t, func(o *driver.Outgoing) bool {
			if !isReply(o) || failures.Add(-1) < 0 {
				return false
			}
			o.Complete(driver.Failed(&bus.Error{Code: bus.CodeUnavailable, Op: "publish", Reason: "injected"}))
			return true
		})
		topic := w.topic("calc", 1)
		s := w.server()
		var runs atomic.Int64
		handle(w, s, "double", func(ctx context.Context, n *number) (*number, error) { runs.Add(1); return double(ctx, n) })
		w.start(s, topic)
		got, err := rpc.Call[number](w.ctx, w.client(), topic, "double", &number{3})
		require.NoError(t, err)
		require.Equal(t, 6, got.N)
		require.EqualValues(t, 1, runs.Load())
		require.EqualValues(t, 2, s.Stats().RepliesFailed)
		require.EqualValues(t, 2, s.Stats().Replayed)
	})
}

func TestRepeatedRequestGetsItsFirstReply(t *testing.T) {
	onEveryTransport(t, func(w *fixture) {
		topic := w.topic("calc", 1)
		s := w.server(rpc.WithReplayCache(2, 1<<20))
		var runs atomic.Int64
		release := make(chan struct{})
		handle(w, s, "count", func(context.Context, *number) (*number, error) {
			n := runs.Add(1)
			<-release
			return &number{int(n)}, nil
		})
		handle(w, s, "fail", func(context.Context, *number) (*number, error) {
			return nil, status.Error(codes.Aborted, fmt.Sprint(runs.Add(1)))
		})
		w.start(s, topic)
		c := w.client()
		require.NoError(w, c.Ready(w.ctx))
		replies := w.capture(c.ReplyTopic())
		send := func(id, method string, attempt int) {
			w.publish(topic, &frame.Frame{Kind: frame.KindRequest, ID: id, Caller: "x.1", Method: method, ReplyTo: c.ReplyTopic(), ReplyPartition: -1, Attempt: attempt, Body: []byte(`{}`)})
		}
		// While the first runs, the second waits for its reply.
		send("a", "count", 1)
		send("a", "count", 2)
		w.eventually("the first runs", func() bool { return s.Stats().InFlight > 0 })
		close(release)
		require.Equal(w, `{"N":1}`, string(receive(w, replies).Body))
		require.Equal(w, `{"N":1}`, string(receive(w, replies).Body))
		// A response is replayed to any attempt.
		send("a", "count", 3)
		require.Equal(w, `{"N":1}`, string(receive(w, replies).Body))
		require.EqualValues(w, 1, runs.Load())
		require.EqualValues(w, 2, s.Stats().Replayed)
		// An error is replayed to its own attempt. A later attempt runs again.
		send("b", "fail", 1)
		require.Equal(w, "2", receive(w, replies).Status.Message())
		send("b", "fail", 1)
		require.Equal(w, "2", receive(w, replies).Status.Message())
		send("b", "fail", 2)
		require.Equal(w, "3", receive(w, replies).Status.Message())
		// The least recently used reply is dropped.
		send("c", "count", 1)
		require.Equal(w, `{"N":4}`, string(receive(w, replies).Body))
		send("a", "count", 1)
		require.Equal(w, `{"N":5}`, string(receive(w, replies).Body))
		// A request of another caller with the same id is another request.
		w.publish(topic, &frame.Frame{Kind: frame.KindRequest, ID: "a", Caller: "x.2", Method: "count", ReplyTo: c.ReplyTopic(), ReplyPartition: -1, Body: []byte(`{}`)})
		require.Equal(w, `{"N":6}`, string(receive(w, replies).Body))
	})
}

func TestReplayCacheIsBoundedInBytes(t *testing.T) {
	t.Parallel()
	w := inMemory(t)
	topic := w.topic("calc", 1)
	s := w.server(rpc.WithReplayCache(100, 3000))
	var runs atomic.Int64
	handle(w, s, "grow", func(_ context.Context, n *number) (*[]byte, error) {
		runs.Add(1)
		b := make([]byte, n.N)
		return &b, nil
	})
	w.start(s, topic)
	c := w.client()
	require.NoError(t, c.Ready(w.ctx))
	replies := w.capture(c.ReplyTopic())
	for _, step := range []struct {
		id   string
		size int
		runs int64
	}{
		{"small", 1000, 1}, {"small", 1000, 1}, {"other", 1000, 2}, {"small", 1000, 2}, {"other", 1000, 2},
		{"third", 1000, 3}, {"small", 1000, 4}, // the third reply has replaced it
		{"huge", 5000, 5}, {"huge", 5000, 6}, {"small", 1000, 6}, // too large to keep, so it replaces no other reply
	} {
		w.publish(topic, &frame.Frame{Kind: frame.KindRequest, ID: step.id, Caller: "x", Method: "grow", ReplyTo: c.ReplyTopic(), ReplyPartition: -1, Body: fmt.Appendf(nil, `{"N":%d}`, step.size)})
		require.Len(t, receive(w, replies).Body, step.size)
		require.Equal(t, step.runs, runs.Load(), step.id)
	}
}
