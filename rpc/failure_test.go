package rpc_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
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
	"github.com/trunkline/trunkline/transport/memory"
)

// publish sends a frame past the client and the server.
func (w *world) publish(topic string, f *rpc.Frame) {
	w.Helper()
	m, err := rpc.HeaderWire{}.Encode(f)
	require.NoError(w, err)
	require.NoError(w, w.bus.Publish(topic, m))
}

// capture subscribes a server that lets the test answer: it returns requests as frames.
func (w *world) capture(topic string) <-chan rpc.Frame {
	w.Helper()
	frames := make(chan rpc.Frame, 100)
	sub, err := w.bus.Consume(w.ctx, topic, func(_ context.Context, d *bus.Delivery) error {
		var f rpc.Frame
		err := rpc.HeaderWire{}.Decode(d.Message, &f)
		frames <- f
		return err
	})
	require.NoError(w, err)
	require.NoError(w, sub.Ready(w.ctx))
	w.Cleanup(func() { require.NoError(w, sub.Close(w.ctx)) })
	return frames
}

type result struct {
	n   *number
	err error
}

func (w *world) call(ctx context.Context, c *rpc.Client, topic, method string, opts ...rpc.CallOption) <-chan result {
	r := make(chan result, 1)
	go func() {
		n, err := rpc.Call[number](ctx, c, topic, method, &number{}, opts...)
		r <- result{n, err}
	}()
	return r
}

func reply(f rpc.Frame, body string) *rpc.Frame {
	return &rpc.Frame{Kind: rpc.KindReply, ID: f.ID, Caller: f.Caller, ReplyPartition: rpc.AnyPartition, Attempt: f.Attempt,
		ContentType: "application/json", Body: []byte(body)}
}

func TestStrayRepliesAreCountedAndDropped(t *testing.T) {
	everywhere(t, func(w *world) {
		topic := w.topic("manual", 1)
		requests := w.capture(topic)
		c := w.client()

		answered := w.call(w.ctx, c, topic, "m")
		f := <-requests
		require.Equal(w, c.ReplyTopic(), f.ReplyTo)
		w.publish(f.ReplyTo, reply(f, `{"N":1}`))
		require.Equal(w, 1, (<-answered).n.N)
		w.publish(f.ReplyTo, reply(f, `{"N":2}`)) // duplicate

		ctx, cancel := context.WithCancel(w.ctx)
		gone := w.call(ctx, c, topic, "m")
		f = <-requests
		cancel()
		e := requireError(w, (<-gone).err, codes.Canceled, false)
		require.ErrorIs(w, e, context.Canceled)
		w.publish(f.ReplyTo, reply(f, `{"N":3}`)) // late
		w.publish(f.ReplyTo, reply(f, `{"N":3}`)) // and a duplicate of it

		foreign := reply(f, `{"N":4}`)
		foreign.Caller = "somebody.else"
		w.publish(f.ReplyTo, foreign)
		request := f
		w.publish(f.ReplyTo, &request)
		require.NoError(w, w.bus.Publish(f.ReplyTo, message.NewMessage("x", []byte("no frame at all"))))

		w.eventually("all are counted", func() bool {
			n := c.Stats()
			return n.DuplicateReplies == 2 && n.LateReplies == 1 && n.ForeignReplies == 2 && n.UndecodableReplies == 1
		})
		last := w.call(w.ctx, c, topic, "m")
		f = <-requests
		w.publish(f.ReplyTo, reply(f, `{"N":5}`))
		require.Equal(w, 5, (<-last).n.N)
	})
}

func TestUndecodableReplyEndsItsCall(t *testing.T) {
	everywhere(t, func(w *world) {
		topic := w.topic("manual", 1)
		requests := w.capture(topic)
		c := w.client()

		headers := w.call(w.ctx, c, topic, "m")
		f := <-requests
		m, err := rpc.HeaderWire{}.Encode(reply(f, `{}`))
		require.NoError(w, err)
		m.Metadata.Set(rpc.HeaderFrame, "2 reply")
		require.NoError(w, w.bus.Publish(f.ReplyTo, m))
		requireError(w, (<-headers).err, codes.Internal, false)

		body := w.call(w.ctx, c, topic, "m")
		f = <-requests
		w.publish(f.ReplyTo, reply(f, `{`))
		requireError(w, (<-body).err, codes.Internal, false)

		codec := w.call(w.ctx, c, topic, "m")
		f = <-requests
		unknown := reply(f, `{}`)
		unknown.ContentType = "text/x-nobody-knows"
		w.publish(f.ReplyTo, unknown)
		requireError(w, (<-codec).err, codes.Internal, false)
		require.EqualValues(w, 3, c.Stats().UndecodableReplies)
	})
}

func TestErrorOfAnEarlierAttemptIsNotTheAnswer(t *testing.T) {
	t.Parallel()
	w := inMemory(t)
	topic := w.topic("manual", 1)
	requests := w.capture(topic)
	c := w.client()
	r := w.call(w.ctx, c, topic, "m", rpc.Retry(rpc.RetryPolicy{Max: 1, MinBackoff: time.Millisecond}))
	first := <-requests
	no := reply(first, "")
	no.Status = status.New(codes.Unavailable, "no")
	w.publish(first.ReplyTo, no)
	second := <-requests
	require.Equal(t, first.ID, second.ID)
	require.Equal(t, 2, second.Attempt)
	w.publish(first.ReplyTo, no) // redelivered by a server that answered twice
	w.publish(first.ReplyTo, reply(second, `{"N":7}`))
	got := <-r
	require.NoError(t, got.err)
	require.Equal(t, 7, got.n.N)
	require.EqualValues(t, 1, c.Stats().DuplicateReplies)
}

func TestUnreadableRequests(t *testing.T) {
	everywhere(t, func(w *world) {
		topic, dead := w.topic("served", 1), w.topic("dead", 1)
		letters := make(chan string, 10)
		sub, err := w.bus.Consume(w.ctx, dead, func(_ context.Context, d *bus.Delivery) error {
			letters <- string(d.Payload)
			return nil
		})
		require.NoError(w, err)
		require.NoError(w, sub.Ready(w.ctx))
		w.Cleanup(func() { require.NoError(w, sub.Close(w.ctx)) })
		s := w.server(rpc.DeadLetterTopic(dead))
		handle(w, s, "double", double)
		w.start(s, topic)
		c := w.client()

		require.NoError(w, w.bus.Publish(topic, message.NewMessage("x", []byte("poison"))))
		require.Equal(w, "poison", <-letters)

		// A later version's client is told, since it can be.
		require.NoError(w, c.Ready(w.ctx))
		replies := w.capture(c.ReplyTopic())
		m, err := rpc.HeaderWire{}.Encode(&rpc.Frame{Kind: rpc.KindRequest, ID: "1", Caller: "later.1", ReplyTo: c.ReplyTopic(), ReplyPartition: -1, Method: "double"})
		require.NoError(w, err)
		m.Metadata.Set(rpc.HeaderFrame, "9 request")
		require.NoError(w, w.bus.Publish(topic, m))
		f := <-replies
		require.Equal(w, "1", f.ID)
		require.Equal(w, codes.Unimplemented, f.Status.Code())
		require.Empty(w, <-letters)

		// Frames that are not for a server do no harm.
		w.publish(topic, &rpc.Frame{Kind: rpc.KindReply, ID: "2", Caller: "x", Attempt: 1})
		w.publish(topic, &rpc.Frame{Kind: rpc.KindCancel, ID: "3", Caller: "x", Attempt: 1})
		w.publish(topic, &rpc.Frame{Kind: rpc.KindMessage, ID: "4", Caller: "x", Method: "double", ReplyTo: c.ReplyTopic(), ReplyPartition: -1})
		require.Equal(w, codes.Unimplemented, (<-replies).Status.Code())
		_, err = rpc.Call[number](w.ctx, c, topic, "double", "a string")
		requireError(w, err, codes.InvalidArgument, true)
		n, err := rpc.Call[number](w.ctx, c, topic, "double", &number{1})
		require.NoError(w, err)
		require.Equal(w, 2, n.N)
		require.EqualValues(w, 2, s.Stats().Undecodable)
		require.EqualValues(w, 3, s.Stats().Ignored)
	})
}

func TestServerAnswersOnlyToReplyTopics(t *testing.T) {
	t.Parallel()
	w := inMemory(t)
	topic, victim := w.topic("served", 1), w.topic("orders", 1)
	s := w.server()
	handle(w, s, "double", double)
	w.start(s, topic)
	w.publish(topic, &rpc.Frame{Kind: rpc.KindRequest, ID: "1", Caller: "x", Method: "double", ReplyTo: victim, ReplyPartition: -1, Body: []byte(`{}`)})
	w.eventually("refused", func() bool { return s.Stats().RepliesRefused == 1 })
	require.Zero(t, s.Stats().Handled)

	// A topic that is gone is not made again, and holds nothing up.
	gone := "trunkline.reply.gone"
	w.publish(topic, &rpc.Frame{Kind: rpc.KindRequest, ID: "2", Caller: "x", Method: "double", ReplyTo: gone, ReplyPartition: -1, Body: []byte(`{}`)})
	w.eventually("dropped", func() bool { return s.Stats().RepliesDropped == 1 })
	topics, err := w.bus.ListTopics(w.ctx)
	require.NoError(t, err)
	require.NotContains(t, topics, gone)

	// Nor is an answer that nobody wants.
	w.publish(topic, &rpc.Frame{Kind: rpc.KindRequest, ID: "3", Caller: "x", Method: "double", ReplyPartition: -1, Body: []byte(`{}`)})
	w.eventually("handled", func() bool { return s.Stats().Handled == 2 && s.Stats().InFlight == 0 })
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

func TestReaderComesBackWhenItsTopicIsDeleted(t *testing.T) {
	t.Parallel()
	w := inMemory(t)
	topic := w.topic("calc", 1)
	s := w.server()
	handle(w, s, "double", double)
	w.start(s, topic)
	c := w.client()
	require.NoError(t, c.Ready(w.ctx))
	require.NoError(t, w.bus.DeleteTopic(w.ctx, c.ReplyTopic()))
	w.eventually("it is made again", func() bool {
		_, err := w.bus.DescribeTopic(w.ctx, c.ReplyTopic())
		return err == nil
	})
	got, err := rpc.Call[number](w.ctx, c, topic, "double", &number{4}, rpc.Retry(rpc.RetryPolicy{Max: 3}))
	require.NoError(t, err)
	require.Equal(t, 8, got.N)
}

func TestExpiredRequestIsNotRun(t *testing.T) {
	everywhere(t, func(w *world) {
		topic := w.topic("calc", 1)
		s, c := w.server(rpc.ClockSkew(time.Minute)), w.client()
		require.NoError(w, c.Ready(w.ctx))
		var ran atomic.Int64
		handle(w, s, "run", func(ctx context.Context, n *number) (*number, error) { ran.Add(1); return n, nil })
		w.start(s, topic)
		for i, ago := range []time.Duration{2 * time.Minute, 30 * time.Second} {
			w.publish(topic, &rpc.Frame{Kind: rpc.KindRequest, ID: fmt.Sprint(i), Caller: "x", Method: "run", ReplyTo: c.ReplyTopic(), ReplyPartition: -1,
				Deadline: time.Now().Add(-ago), Body: []byte(`{}`)})
		}
		w.eventually("the second, within the skew, is run", func() bool { return s.Stats().Handled == 1 })
		w.eventually("the first is not", func() bool { return s.Stats().Expired == 1 })
		require.EqualValues(w, 1, ran.Load())
	})
}

func TestCallToNobodyEndsAtItsDeadline(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := inMemory(t)
		topic := w.topic("deserted", 1)
		c := w.client()
		for name, opts := range map[string][]rpc.CallOption{"default": nil, "option": {rpc.Timeout(30 * time.Second)}} {
			begun := time.Now()
			_, err := rpc.Call[number](context.Background(), c, topic, "m", &number{}, opts...)
			requireError(t, err, codes.DeadlineExceeded, false)
			require.ErrorIs(t, err, context.DeadlineExceeded)
			require.Equal(t, 30*time.Second, time.Since(begun), name)
		}
		ctx, cancel := context.WithTimeout(context.Background(), 3*time.Second)
		defer cancel()
		begun := time.Now()
		_, err := rpc.Call[number](ctx, c, topic, "m", &number{}, rpc.Timeout(time.Hour))
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.Equal(t, 3*time.Second, time.Since(begun))
		require.Zero(t, c.Stats().Pending)
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
			require.NoError(t, ctx.Err())
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

func TestOrderByKey(t *testing.T) {
	everywhere(t, func(w *world) {
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
				return nil, fmt.Errorf("key %s: %d came when %d was due", info.Key, n.N, want)
			}
			next[info.Key]++
			return n, nil
		})
		w.start(s, topic)
		c := w.client()
		require.NoError(w, c.Ready(w.ctx))
		// All requests of a key are under way at once, published in order by one
		// goroutine that does not wait for answers.
		replyTo := c.ReplyTopic()
		for i := range each {
			for k := range keys {
				f := &rpc.Frame{Kind: rpc.KindRequest, ID: fmt.Sprintf("%d-%d", k, i), Caller: "x", Method: "step", Key: fmt.Sprint("dev", k),
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

// Two keys of one partition run side by side: each handler waits for the other.
func TestKeysRunSideBySide(t *testing.T) {
	everywhere(t, func(w *world) {
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
		require.NoError(w, (<-a).err)
		require.NoError(w, (<-b).err)
	})
}

// tapped lets a test decide about what is published.
type tapped struct {
	driver.Transport
	driver.Admin
	tap func(o *driver.Outgoing) (taken bool)
}

func (t *tapped) Publish(batch []driver.Outgoing) {
	for i := range batch {
		if !t.tap(&batch[i]) {
			t.Transport.Publish(batch[i : i+1])
		}
	}
}

func tappedMemory(t *testing.T, tap func(o *driver.Outgoing) bool) *world {
	open := onMemory(t)
	return newWorld(t, func() driver.Transport {
		m := open().(*memory.Transport)
		return &tapped{m, m, tap}
	})
}

func isReply(o *driver.Outgoing) bool { return o.Message.Metadata.Get(rpc.HeaderFrame) == "1 reply" }

func TestReplyThatIsNotPublishedIsPublishedAgainWithoutRunningTwice(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var failures atomic.Int64
		failures.Store(2)
		w := tappedMemory(t, func(o *driver.Outgoing) bool {
			if !isReply(o) || failures.Add(-1) < 0 {
				return false
			}
			o.Complete(driver.Failed(&bus.Error{Code: bus.Unavailable, Op: "publish", Reason: "injected"}))
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

func TestRepeatedRequestIsAnsweredWithItsFirstAnswer(t *testing.T) {
	everywhere(t, func(w *world) {
		topic := w.topic("calc", 1)
		s := w.server(rpc.ReplayCache(2, 1<<20))
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
			w.publish(topic, &rpc.Frame{Kind: rpc.KindRequest, ID: id, Caller: "x.1", Method: method, ReplyTo: c.ReplyTopic(), ReplyPartition: -1, Attempt: attempt, Body: []byte(`{}`)})
		}
		// In flight: joined, where the transport lets two run at once.
		send("a", "count", 1)
		send("a", "count", 2)
		w.eventually("the first runs", func() bool { return s.Stats().InFlight > 0 })
		close(release)
		require.Equal(w, `{"N":1}`, string((<-replies).Body))
		require.Equal(w, `{"N":1}`, string((<-replies).Body))
		// Done: replayed, success to any attempt.
		send("a", "count", 3)
		require.Equal(w, `{"N":1}`, string((<-replies).Body))
		require.EqualValues(w, 1, runs.Load())
		require.EqualValues(w, 2, s.Stats().Replayed)
		// An error is replayed to its own attempt, and a later one runs anew.
		send("b", "fail", 1)
		require.Equal(w, "2", (<-replies).Status.Message())
		send("b", "fail", 1)
		require.Equal(w, "2", (<-replies).Status.Message())
		send("b", "fail", 2)
		require.Equal(w, "3", (<-replies).Status.Message())
		// Bounded: the least recently used is forgotten.
		send("c", "count", 1)
		require.Equal(w, `{"N":4}`, string((<-replies).Body))
		send("a", "count", 1)
		require.Equal(w, `{"N":5}`, string((<-replies).Body))
		// Another caller's request of the same id is another request.
		w.publish(topic, &rpc.Frame{Kind: rpc.KindRequest, ID: "a", Caller: "x.2", Method: "count", ReplyTo: c.ReplyTopic(), ReplyPartition: -1, Body: []byte(`{}`)})
		require.Equal(w, `{"N":6}`, string((<-replies).Body))
	})
}

func TestPublishOutcomes(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		bus  bus.Code
		want codes.Code
	}{
		{bus.Unavailable, codes.Unavailable}, {bus.TooLarge, codes.ResourceExhausted}, {bus.ResourceExhausted, codes.ResourceExhausted},
		{bus.Closed, codes.Unavailable}, {bus.NotFound, codes.Unimplemented}, {bus.Unsupported, codes.Unimplemented},
		{bus.InvalidArgument, codes.InvalidArgument}, {bus.PermissionDenied, codes.PermissionDenied},
		{bus.Unauthenticated, codes.Unauthenticated}, {bus.Internal, codes.Internal}, {bus.Unknown, codes.Unknown},
		{bus.DeadlineExceeded, codes.DeadlineExceeded}, {bus.Canceled, codes.Canceled},
	} {
		t.Run(tt.bus.String(), func(t *testing.T) {
			t.Parallel()
			w := tappedMemory(t, func(o *driver.Outgoing) bool {
				o.Complete(driver.Failed(&bus.Error{Code: tt.bus, Op: "publish", Reason: "injected"}))
				return true
			})
			c := w.client()
			_, err := rpc.Call[number](w.ctx, c, "t", "m", 1)
			requireError(t, err, tt.want, false)
			require.Equal(t, tt.bus, bus.CodeOf(err))
			require.Zero(t, c.Stats().Pending)
		})
	}
}

// The server may have got a request of which nobody knows whether it was sent; and
// a reply may overtake the outcome.
func TestReplyWinsOverAnOutcomeThatIsLateOrUnknown(t *testing.T) {
	t.Parallel()
	for _, code := range []bus.Code{bus.OutcomeUnknown, bus.Unavailable} {
		t.Run(code.String(), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				var held atomic.Pointer[driver.Outgoing]
				w := tappedMemory(t, func(o *driver.Outgoing) bool {
					if o.Topic != "calc" {
						return false
					}
					kept := *o
					if code == bus.OutcomeUnknown {
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
				// The server's answer, made by hand: the request's id is the client's first.
				w.publish(c.ReplyTopic(), reply(rpc.Frame{ID: c.ID()[len("client."):] + "-1", Caller: c.ID(), Attempt: 1}, `{"N":1}`))
				got := <-r
				require.NoError(t, got.err)
				if o := held.Load(); o != nil {
					o.Complete(driver.Failed(&bus.Error{Code: code, Op: "publish"})) // too late to matter
				} else {
					require.EqualValues(t, 1, c.Stats().OutcomeUnknown)
				}
			})
		})
	}
}

// poisoned makes records with this payload undecodable.
type poisoned struct {
	driver.Transport
	driver.Admin
}

func (t poisoned) Subscribe(ctx context.Context, s driver.Subscription) (driver.Session, error) {
	session, err := t.Transport.Subscribe(ctx, s)
	return poisonedSession{session}, err
}

type poisonedSession struct{ driver.Session }

func (s poisonedSession) Next(ctx context.Context) (driver.Event, error) {
	e, err := s.Session.Next(ctx)
	for i, p := range e.Added {
		e.Added[i] = poisonedPartition{p}
	}
	return e, err
}

type poisonedPartition struct{ driver.Partition }

func (p poisonedPartition) Fetch(ctx context.Context) ([]driver.Record, error) {
	recs, err := p.Partition.Fetch(ctx)
	for i := range recs {
		if string(recs[i].Payload) == "poison" {
			recs[i].DecodeErr = errors.New("injected")
		}
	}
	return recs, err
}

// Records that are no messages end a subscription; the reader goes on after them
// without losing a reply that stands behind.
func TestReaderGetsPastPoison(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		open := onMemory(t)
		w := newWorld(t, func() driver.Transport {
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

func TestCallsWaitForABrokerThatIsAway(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		log, err := memory.NewLog()
		require.NoError(t, err)
		w := newWorld(t, onMemoryLog(t, log))
		topic := w.topic("calc", 1)
		s := w.server()
		handle(w, s, "double", double)
		w.start(s, topic)

		tr, err := memory.New(memory.WithLog(log))
		require.NoError(t, err)
		tr.Disconnect(errors.New("pulled"))
		b, err := bus.New(tr)
		require.NoError(t, err)
		t.Cleanup(func() { require.NoError(t, b.Close()) })
		c, err := rpc.NewClient(b)
		require.NoError(t, err)
		t.Cleanup(func() { require.NoError(t, c.Close()) })
		ctx, cancel := context.WithTimeout(w.ctx, time.Second)
		defer cancel()
		_, err = rpc.Call[number](ctx, c, topic, "double", &number{1})
		requireError(t, err, codes.DeadlineExceeded, false)
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.ErrorContains(t, err, "pulled")

		r := w.call(w.ctx, c, topic, "double")
		synctest.Wait()
		tr.Connect()
		require.NoError(t, (<-r).err)
	})
}
