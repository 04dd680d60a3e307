package rpc_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/trunkline/trunkline/bus"
	"github.com/trunkline/trunkline/rpc"
	"github.com/trunkline/trunkline/rpc/frame"
)

func TestCallsWithTheSameIdempotencyKeyRunOnce(t *testing.T) {
	onEveryTransport(t, func(w *fixture) {
		topic := w.topic("orders", 4)
		s := w.server()
		var runs atomic.Int64
		release := make(chan struct{})
		handle(w, s, "order", func(ctx context.Context, _ *number) (*number, error) {
			info, _ := rpc.FromContext(ctx)
			if info.IdempotencyKey == "" {
				return nil, errors.New("the key does not travel")
			}
			<-release
			return &number{int(runs.Add(1))}, nil
		})
		handle(w, s, "fail", func(context.Context, *number) (*number, error) {
			return nil, status.Error(codes.Aborted, fmt.Sprint(runs.Add(1)))
		})
		w.start(s, topic)
		clients := []*rpc.Client{w.client(), w.client(), w.client()}
		var all sync.WaitGroup
		answers := make([]int, 30)
		errs := make([]error, len(answers))
		for i := range answers {
			all.Go(func() {
				got, err := rpc.Call[number](w.ctx, clients[i%3], topic, "order", &number{}, rpc.IdempotencyKey("one"))
				if errs[i] = err; err == nil {
					answers[i] = got.N
				}
			})
		}
		close(release)
		all.Wait()
		require.NoError(w, errors.Join(errs...))
		for _, n := range answers {
			require.Equal(w, 1, n)
		}
		got, err := rpc.Call[number](w.ctx, clients[0], topic, "order", &number{}, rpc.IdempotencyKey("two"))
		require.NoError(w, err)
		require.Equal(w, 2, got.N)
		// An error is not kept.
		for _, want := range []string{"3", "4"} {
			_, err = rpc.Call[number](w.ctx, clients[0], topic, "fail", &number{}, rpc.IdempotencyKey("one"))
			require.Equal(w, want, requireError(w, err, codes.Aborted, true).Message())
		}
	})
}

// Calls with the same idempotency key must reach the same server.
func TestIdempotencyKeyIsTheKeyUnlessThatIsSet(t *testing.T) {
	t.Parallel()
	w := inMemory(t)
	topic, c := w.topic("orders", 4), w.client()
	requests := w.capture(topic)
	for _, tt := range []struct {
		opts []rpc.CallOption
		want string
	}{
		{[]rpc.CallOption{rpc.IdempotencyKey("i")}, "i"},
		{[]rpc.CallOption{rpc.IdempotencyKey("i"), rpc.Key("k")}, "k"},
		{nil, ""},
	} {
		require.NoError(t, rpc.Send(w.ctx, c, topic, "m", 1, tt.opts...))
		require.Equal(t, tt.want, receive(w, requests).Key)
	}
}

func TestPartitionSelectsThePartition(t *testing.T) {
	onEveryTransport(t, func(w *fixture) {
		topic := w.topic("parted", 4)
		partitions := make(chan int32, 10)
		sub, err := w.bus.Consume(w.ctx, topic, func(_ context.Context, d *bus.Delivery) error {
			partitions <- d.Record.Partition
			return nil
		})
		require.NoError(w, err)
		defer sub.Close()
		require.NoError(w, sub.Ready(w.ctx))
		c := w.client()
		for p := range int32(4) {
			err := rpc.Send(w.ctx, c, topic, "m", 1, rpc.Partition(p), rpc.Key("same"))
			if !w.bus.Capabilities().Partitions {
				requireError(w, err, codes.InvalidArgument, false)
				return
			}
			require.NoError(w, err)
			require.Equal(w, p, receive(w, partitions))
		}
		err = rpc.Send(w.ctx, c, topic, "m", 1, rpc.Partition(4))
		require.Contains(w, []codes.Code{codes.InvalidArgument, codes.Unimplemented}, rpc.CodeOf(err), "the partition does not exist")
	})
}

func TestInvalidCallOptionsFailTheCall(t *testing.T) {
	t.Parallel()
	w := inMemory(t)
	topic, c := w.topic("t", 1), w.client()
	for name, o := range map[string]rpc.CallOption{
		"partition": rpc.Partition(-1), "empty key": rpc.IdempotencyKey(""), "long key": rpc.IdempotencyKey(strings.Repeat("k", 129)),
		"codec": rpc.Codec(nil), "timeout": rpc.Timeout(0),
	} {
		requireError(t, rpc.Send(w.ctx, c, topic, "m", 1, o), codes.InvalidArgument, false)
		_, err := rpc.NewClient(w.bus, rpc.WithCallDefaults(o))
		requireError(t, err, codes.InvalidArgument, false)
		require.Error(t, err, name)
	}
}

// The next attempt follows at once. The server treats all attempts as one request.
func TestAttemptThatTakesTooLongIsFollowedByTheNext(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := inMemory(t)
		topic := w.topic("slow", 8)
		s := w.server()
		var runs atomic.Int64
		handle(w, s, "wait", func(context.Context, *number) (*number, error) {
			time.Sleep(2500 * time.Millisecond)
			return &number{int(runs.Add(1))}, nil
		})
		w.start(s, topic)
		c := w.client()
		begun := time.Now()
		var retries []rpc.RetryEvent
		retry := func(limit int) rpc.CallOption {
			return rpc.Retry(rpc.RetryPolicy{Max: limit, AttemptTimeout: time.Second, OnRetry: func(e rpc.RetryEvent) { retries = append(retries, e) }})
		}
		got, err := rpc.Call[number](w.ctx, c, topic, "wait", &number{}, retry(5))
		require.NoError(t, err)
		require.Equal(t, 1, got.N)
		require.Equal(t, 2500*time.Millisecond, time.Since(begun), "the first attempt's answer counts")
		require.Len(t, retries, 2)
		require.Equal(t, codes.DeadlineExceeded, retries[0].Err.Code())
		require.Zero(t, retries[0].Pause)
		synctest.Wait()
		require.EqualValues(t, 1, runs.Load())

		// The last attempt has the rest of the time.
		_, err = rpc.Call[number](w.ctx, c, topic, "wait", &number{}, retry(1))
		require.NoError(t, err)
		_, err = rpc.Call[number](w.ctx, c, topic, "wait", &number{}, retry(1), rpc.Timeout(2*time.Second))
		requireError(t, err, codes.DeadlineExceeded, false)
	})
}

func TestAttemptsGoToOnePartition(t *testing.T) {
	t.Parallel()
	w := inMemory(t)
	topic := w.topic("manual", 16)
	partitions := make(chan int32, 20)
	sub, err := w.bus.Consume(w.ctx, topic, func(_ context.Context, d *bus.Delivery) error {
		var f frame.Frame
		err := frame.HeaderWire{}.Decode(d.Record, &f)
		partitions <- d.Record.Partition
		no := reply(f, "")
		no.Status = status.New(codes.Unavailable, "no")
		return errors.Join(err, w.tryPublish(f.ReplyTo, no))
	})
	require.NoError(t, err)
	defer sub.Close()
	require.NoError(t, sub.Ready(w.ctx))
	_, err = rpc.Call[number](w.ctx, w.client(), topic, "m", 1, rpc.Retry(rpc.RetryPolicy{Max: 9, MinBackoff: time.Microsecond, MaxBackoff: time.Microsecond}))
	requireError(t, err, codes.Unavailable, true)
	first := receive(w, partitions)
	for range 9 {
		require.Equal(t, first, receive(w, partitions))
	}
}

func TestPendingDescribesTheCallsThatWait(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := inMemory(t)
		topic, c := w.topic("deserted", 1), w.client(rpc.WithWaitForServer())
		begun := time.Now()
		a := rpc.CallAsync[number](w.ctx, c, topic, "first", 1, rpc.Key("k"), rpc.Timeout(10*time.Second),
			rpc.Retry(rpc.RetryPolicy{Max: 1, AttemptTimeout: 4 * time.Second}))
		time.Sleep(time.Second)
		go func() { _, _ = rpc.Gather[number](w.ctx, c, topic, "second", 1, rpc.Timeout(10*time.Second)) }()
		synctest.Wait()
		time.Sleep(4 * time.Second)
		synctest.Wait()
		list := c.Pending()
		require.Len(t, list, 2)
		require.True(t, strings.HasPrefix(list[0].ID, c.ID()[len("client."):]))
		list[0].ID, list[1].ID = "", ""
		require.Equal(t, rpc.PendingCall{Topic: topic, Method: "first", Key: "k", Begun: begun, Deadline: begun.Add(10 * time.Second),
			Attempt: 2, Sent: true}, list[0])
		require.Equal(t, 5*time.Second, list[0].Age())
		require.Equal(t, rpc.PendingCall{Topic: topic, Method: "second", Begun: begun.Add(time.Second),
			Deadline: begun.Add(11 * time.Second), Attempt: 1, Sent: true, Gathering: true}, list[1])
		<-a.Done()
		time.Sleep(time.Second)
		synctest.Wait()
		require.Empty(t, c.Pending())
	})
}
