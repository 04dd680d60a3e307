package rpc_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/trunkline/trunkline/bus"
	"github.com/trunkline/trunkline/rpc"
	"github.com/trunkline/trunkline/rpc/frame"
)

// instances starts servers without a consumer group, so each reads every request.
func (w *fixture) instances(topic string, n int, h func(ctx context.Context, i int) (*number, error)) {
	w.Helper()
	for i := range n {
		s := w.server(bus.NoGroup(), rpc.WithInstance(fmt.Sprint("s", i)))
		handle(w, s, "ask", func(ctx context.Context, _ *number) (*number, error) { return h(ctx, i) })
		w.start(s, topic)
	}
}

func itself(_ context.Context, i int) (*number, error) { return &number{i}, nil }

func TestGatherCollectsTheAnswersOfAllInstances(t *testing.T) {
	onEveryTransport(t, func(w *fixture) {
		topic := w.topic("fleet", 3)
		w.instances(topic, 5, itself)
		c := w.client()
		for round := range 10 {
			answers, err := rpc.Gather[number](w.ctx, c, topic, "ask", &number{}, rpc.Expect(5), rpc.Key(fmt.Sprint(round)))
			require.NoError(w, err)
			require.Len(w, answers, 5)
			slices.SortFunc(answers, func(a, b rpc.Answer[number]) int { return a.Resp.N - b.Resp.N })
			for i, a := range answers {
				require.Nil(w, a.Err)
				require.Equal(w, i, a.Resp.N)
				require.Equal(w, fmt.Sprint("s", i), a.Server)
			}
		}
		require.Zero(w, c.Stats().Failed+c.Stats().ForeignReplies)
		require.Zero(w, c.Stats().Pending)
	})
}

func TestGatherReturnsErrorsAsAnswers(t *testing.T) {
	onEveryTransport(t, func(w *fixture) {
		topic := w.topic("fleet", 1)
		w.instances(topic, 3, func(_ context.Context, i int) (*number, error) {
			if i == 1 {
				return nil, status.Error(codes.NotFound, "not here")
			}
			return &number{i}, nil
		})
		found := func(answers []rpc.Answer[number]) bool {
			a := answers[len(answers)-1]
			return a.Err == nil && a.Resp.N == 2
		}
		answers, err := rpc.Gather[number](w.ctx, w.client(), topic, "ask", &number{}, rpc.Until(found))
		require.NoError(w, err)
		require.True(w, found(answers), "the last answer met the condition")
		answers, err = rpc.Gather[number](w.ctx, w.client(), topic, "ask", &number{}, rpc.Expect(3))
		require.NoError(w, err)
		i := slices.IndexFunc(answers, func(a rpc.Answer[number]) bool { return a.Err != nil })
		requireError(w, answers[i].Err, codes.NotFound, true)
		require.Equal(w, "s1", answers[i].Server)
	})
}

func TestGatherEndsAtItsTimeout(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := inMemory(t)
		topic := w.topic("fleet", 1)
		var ended atomic.Int64
		w.instances(topic, 4, func(ctx context.Context, i int) (*number, error) {
			if i < 2 {
				time.Sleep(time.Millisecond) // until all handlers run: a handler that is canceled earlier never runs
				return &number{i}, nil
			}
			<-ctx.Done()
			ended.Add(1)
			time.Sleep(time.Second) // its answer comes after the gathering has ended
			return nil, ctx.Err()
		})
		c := w.client()
		gather := func(ctx context.Context, opts ...rpc.CallOption) ([]rpc.Answer[number], error) {
			return rpc.Gather[number](ctx, c, topic, "ask", &number{}, append(opts, rpc.Timeout(5*time.Second))...)
		}
		begun := time.Now()
		answers, err := gather(w.ctx)
		require.NoError(t, err, "there is no condition")
		require.Len(t, answers, 2)
		require.Equal(t, 5*time.Second, time.Since(begun))

		answers, err = gather(context.Background(), rpc.Expect(3))
		requireError(t, err, codes.DeadlineExceeded, false)
		require.Len(t, answers, 2, "the answers so far are returned")

		ctx, cancel := context.WithCancel(context.Background())
		time.AfterFunc(time.Second, cancel)
		synctest.Wait()
		ended.Store(0)
		answers, err = gather(ctx)
		requireError(t, err, codes.Canceled, false)
		require.ErrorIs(t, err, context.Canceled)
		require.Len(t, answers, 2)
		synctest.Wait()
		require.EqualValues(t, 2, ended.Load(), "every handler is canceled")

		ended.Store(0)
		answers, err = gather(context.Background(), rpc.Expect(2))
		require.NoError(t, err)
		require.Len(t, answers, 2)
		synctest.Wait()
		require.EqualValues(t, 2, ended.Load(), "the handlers that have not answered are canceled")

		time.AfterFunc(time.Second, func() { assert.NoError(t, c.Close()) })
		answers, err = gather(context.Background())
		requireError(t, err, codes.Unavailable, false)
		require.Len(t, answers, 2)
	})
}

func TestGatherReturnsOneAnswerOfEachServer(t *testing.T) {
	onEveryTransport(t, func(w *fixture) {
		topic := w.topic("manual", 1)
		requests := w.capture(topic)
		c := w.client()
		type result struct {
			answers []rpc.Answer[number]
			err     error
		}
		done := make(chan result, 1)
		go func() {
			a, err := rpc.Gather[number](w.ctx, c, topic, "ask", &number{}, rpc.Expect(3))
			done <- result{a, err}
		}()
		f := receive(w, requests)
		require.Equal(w, frame.AnyServer, f.Server)
		from := func(server, body string) *frame.Frame {
			r := reply(f, body)
			r.Server = server
			return r
		}
		for _, r := range []*frame.Frame{from("a", `{"N":1}`), from("a", `{"N":2}`), from("b", `{`), from("b", `{"N":3}`), from("c", `{"N":4}`)} {
			w.publish(f.ReplyTo, r)
		}
		got := receive(w, done)
		require.NoError(w, got.err)
		require.Len(w, got.answers, 3)
		servers := map[string]bool{}
		for _, a := range got.answers {
			servers[a.Server] = true
			if !w.bus.Capabilities().Ordered {
				continue // either of the two may have arrived first
			}
			switch a.Server {
			case "a":
				require.Equal(w, 1, a.Resp.N)
			case "b":
				requireError(w, a.Err, codes.Internal, false)
			case "c":
				require.Equal(w, 4, a.Resp.N)
			}
		}
		require.Len(w, servers, 3)
		w.publish(f.ReplyTo, from("d", `{"N":5}`))
		w.eventually("the others are counted as duplicates", func() bool { return c.Stats().DuplicateReplies == 3 })
	})
}

func TestGatherRejectsInvalidOptions(t *testing.T) {
	t.Parallel()
	w := inMemory(t)
	topic, c := w.topic("fleet", 1), w.client()
	for name, opt := range map[string]rpc.CallOption{
		"type": rpc.Until(func([]rpc.Answer[string]) bool { return true }),
		"none": rpc.Expect(0), "many": rpc.Expect(1 << 20), "nil": rpc.Until[number](nil),
	} {
		_, err := rpc.Gather[number](w.ctx, c, topic, "ask", &number{}, opt)
		requireError(t, err, codes.InvalidArgument, false)
		require.Empty(t, c.Pending(), name)
	}
	_, err := rpc.Gather[number](w.ctx, c, topic, "ask", &number{})
	requireError(t, err, codes.Unavailable, false)
	require.NoError(t, errors.Join(c.Close(), c.Close()))
}
