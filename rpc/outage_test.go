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

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc/codes"

	"github.com/trunkline/trunkline/bus"
	"github.com/trunkline/trunkline/rpc"
	"github.com/trunkline/trunkline/testing/kafkatest"
	"github.com/trunkline/trunkline/testing/kafkatest/kafkatb"
	"github.com/trunkline/trunkline/transport/kafka"
	"github.com/trunkline/trunkline/transport/memory"
)

func testsOwnBroker(w *fixture) bool {
	return !w.bus.Capabilities().Durable || kafkatb.New(w).Embedded()
}

// The server publishes the replies while the client is disconnected.
func TestPendingCallsSurviveAnOutage(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		log, err := memory.NewLog()
		require.NoError(t, err)
		w := newFixture(t, onMemoryLog(t, log))
		topic := w.topic("slow", 4)
		s := w.server(bus.Concurrency(1000))
		handle(w, s, "double", func(ctx context.Context, n *number) (*number, error) {
			time.Sleep(2 * time.Second)
			return double(ctx, n)
		})
		w.start(s, topic)
		for _, opts := range [][]rpc.ClientOption{nil, {rpc.WithSharedReplies(bus.TopicSpec{Name: "trunkline.reply.shared", Partitions: 3})}} {
			tr, err := memory.New(memory.WithLog(log))
			require.NoError(t, err)
			b, err := bus.New(tr)
			require.NoError(t, err)
			c, err := rpc.NewClient(b, opts...)
			require.NoError(t, err)
			calls := make([]*rpc.AsyncCall[number], 1000)
			for i := range calls {
				calls[i] = rpc.CallAsync[number](w.ctx, c, topic, "double", &number{i}, rpc.Timeout(10*time.Second))
			}
			tr.Disconnect(errors.New("pulled"))
			time.Sleep(4 * time.Second) // the log has the replies
			require.Len(t, c.Pending(), len(calls))
			tr.Connect()
			for i, a := range calls {
				got, err := a.Reply(w.ctx)
				require.NoError(t, err)
				require.Equal(t, 2*i, got.N)
			}
			require.Zero(t, c.Stats().DuplicateReplies)
			require.NoError(t, c.Close())
			require.NoError(t, b.Close())
		}
	})
}

// Each of a thousand calls ends by its deadline, with its own response or with an error that
// gives the reason.
func TestCallsEndWhenTheNetworkIsCut(t *testing.T) {
	t.Parallel()
	broker := kafkatb.New(t)
	open := func(net *kafkatest.Dialer) *bus.Bus {
		tr, err := kafka.New(broker.Addrs(), kafka.WithDialer(net.DialContext))
		require.NoError(t, err)
		b, err := bus.New(tr)
		require.NoError(t, err)
		t.Cleanup(func() { require.NoError(t, b.Close()) })
		return b
	}
	w := newFixture(t, onKafka(t))
	w.bus = open(&kafkatest.Dialer{})
	topic := w.topic("calc", 8)
	s := w.server()
	release := make(chan struct{})
	var begun atomic.Uint64
	handle(w, s, "double", func(ctx context.Context, n *number) (*number, error) {
		begun.Add(1)
		<-release
		return double(ctx, n)
	})
	w.start(s, topic)
	net := &kafkatest.Dialer{}
	c, err := rpc.NewClient(open(net))
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, c.Close()) })
	require.NoError(t, c.Ready(w.ctx))

	const timeout = time.Minute
	errs := make([]error, 1000)
	took := make([]time.Duration, len(errs))
	var all sync.WaitGroup
	var answered atomic.Int64
	for i := range errs {
		all.Go(func() {
			began := time.Now()
			got, err := rpc.Call[number](w.ctx, c, topic, "double", &number{i}, rpc.Timeout(timeout))
			took[i] = time.Since(began)
			switch {
			case err == nil && got.N != 2*i:
				errs[i] = fmt.Errorf("the call with %d got %d", i, got.N)
			case err == nil:
				answered.Add(1)
			case rpc.CodeOf(err) != codes.DeadlineExceeded && rpc.CodeOf(err) != codes.Unavailable:
				errs[i] = err
			}
		})
	}
	w.eventually("calls are pending, some at the server", func() bool { return len(c.Pending()) > 500 && begun.Load() > 10 })
	net.Cut()
	taken := begun.Load()
	close(release)
	w.eventually("the server has answered", func() bool { return s.Stats().Handled >= taken })
	net.Restore()
	all.Wait()
	require.NoError(t, errors.Join(errs...))
	for _, d := range took {
		require.Less(t, d, timeout+30*time.Second)
	}
	require.Empty(t, c.Pending())
	require.Positive(t, answered.Load(), "after the cut the client reads the replies that the server sent during it")
	t.Logf("%d of %d answered", answered.Load(), len(errs))
	_, err = rpc.Call[number](w.ctx, c, topic, "double", &number{1})
	require.NoError(t, err)
}

// A hundred clients on ten transports start at once. No reply is lost.
func TestClientsShareConnections(t *testing.T) {
	t.Parallel()
	w := newFixture(t, onKafka(t))
	broker := kafkatb.New(t)
	net := &kafkatest.Dialer{}
	buses := make([]*bus.Bus, 10)
	for i := range buses {
		tr, err := kafka.New(broker.Addrs(), kafka.WithDialer(net.DialContext))
		require.NoError(t, err)
		buses[i], err = bus.New(tr)
		require.NoError(t, err)
		t.Cleanup(func() { require.NoError(t, buses[i].Close()) })
	}
	w.bus = buses[0]
	topic := w.topic("calc", 4)
	served, err := kafka.New(broker.Addrs())
	require.NoError(t, err)
	w.bus, err = bus.New(served)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, w.bus.Close()) })
	s := w.server()
	handle(w, s, "double", double)
	w.start(s, topic)

	clients := make([]*rpc.Client, 100)
	errs := make([]error, len(clients))
	var all sync.WaitGroup
	for i := range clients {
		all.Go(func() {
			c, err := rpc.NewClient(buses[i%len(buses)])
			if err == nil {
				clients[i] = c
				var got *number
				if got, err = rpc.Call[number](w.ctx, c, topic, "double", &number{i}); err == nil && got.N != 2*i {
					err = fmt.Errorf("the call with %d got %d", i, got.N)
				}
			}
			errs[i] = err
		})
	}
	all.Wait()
	conns := net.Conns()
	t.Logf("%d clients, %d transports, %d connections", len(clients), len(buses), conns)
	for _, c := range clients {
		require.NoError(t, c.Close())
	}
	require.NoError(t, errors.Join(errs...))
	require.LessOrEqual(t, conns, 8*len(buses)*max(1, len(broker.Addrs())), "a few for each transport and broker, none for a client")
}
