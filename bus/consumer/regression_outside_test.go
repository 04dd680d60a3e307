package consumer_test

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/stretchr/testify/require"
	sdk "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"

	"github.com/twmb/franz-go/pkg/kfake"

	"github.com/trunkline/trunkline/bus"
	"github.com/trunkline/trunkline/bus/busotel"
	"github.com/trunkline/trunkline/bus/consumer"
	"github.com/trunkline/trunkline/bus/driver"
	"github.com/trunkline/trunkline/liveness"
	"github.com/trunkline/trunkline/liveness/probe"
	"github.com/trunkline/trunkline/testing/kafkatest"
	"github.com/trunkline/trunkline/testing/kafkatest/kafkatb"
	"github.com/trunkline/trunkline/transport/kafka"
	"github.com/trunkline/trunkline/transport/memory"
)

// testTimeout bounds tests with a broker. They are much faster.
const testTimeout = 60 * time.Second

// onKafka makes a bus on Kafka, which is closed at the end of the test.
func onKafka(t *testing.T, addrs []string, opts ...kafka.Option) *bus.Bus {
	t.Helper()
	k, err := kafka.New(addrs, opts...)
	require.NoError(t, err)
	b, err := bus.New(k)
	require.NoError(t, err)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), testTimeout)
		defer cancel()
		require.NoError(t, b.Shutdown(ctx))
	})
	return b
}

// Every message reset the reconnect timer, so a busy producer never reconnected. Its messages
// were lost although their errors were nil.
func TestFault14BusyProducerReconnects(t *testing.T) {
	t.Parallel()
	broker := kafkatb.New(t)
	topic := kafkatb.Topic(t, broker, 2)
	net := &kafkatest.Dialer{}
	b := onKafka(t, broker.Addrs(), kafka.WithDialer(net.DialContext))
	ctx, cancel := context.WithTimeout(t.Context(), testTimeout)
	defer cancel()
	require.NoError(t, b.Ready(ctx))
	var mu sync.Mutex
	acked := map[string]bool{} // published without an error
	var sent, failed, after atomic.Int64
	var restored atomic.Bool
	stopPublishing := make(chan struct{})
	var publishing sync.WaitGroup
	for range 4 {
		publishing.Go(func() {
			for {
				select {
				case <-stopPublishing:
					return
				default:
				}
				id := strconv.FormatInt(sent.Add(1), 10)
				begun := restored.Load()
				m := message.NewMessage(id, []byte(id))
				if err := b.Publish(topic, m); err != nil {
					failed.Add(1)
					continue
				}
				mu.Lock()
				acked[id] = true
				mu.Unlock()
				if begun {
					after.Add(1)
				}
			}
		})
	}
	until := func(what string, n *atomic.Int64, least int64) {
		for n.Load() < least {
			require.NoError(t, ctx.Err(), what)
			time.Sleep(time.Millisecond)
		}
	}
	until("no message was published", &sent, 100)
	net.Cut()
	until("no publish failed", &failed, 5)
	net.Restore()
	restored.Store(true)
	until("no message was published after the outage", &after, 100)
	close(stopPublishing)
	publishing.Wait()

	var missing sync.Map
	mu.Lock()
	left := int64(len(acked))
	for id := range acked {
		missing.Store(id, true)
	}
	mu.Unlock()
	all := make(chan struct{})
	var count atomic.Int64
	count.Store(left)
	c, err := consumer.New(b, topic, func(_ context.Context, d *bus.Delivery) error {
		if _, was := missing.LoadAndDelete(string(d.Payload)); was && count.Add(-1) == 0 {
			close(all)
		}
		return nil
	}, bus.Group(kafkatb.Name(t)), bus.Unordered())
	require.NoError(t, err)
	require.NoError(t, c.Start())
	select {
	case <-all:
	case <-ctx.Done():
		require.Zero(t, count.Load(), "acknowledged messages are not in the log")
	}
	require.NoError(t, c.Shutdown(ctx))
}

// countingTransport counts calls of Subscribe.
type countingTransport struct {
	*memory.Transport
	subscribed atomic.Int64
	err        error
}

func (c *countingTransport) Subscribe(ctx context.Context, s driver.Subscription) (driver.Session, error) {
	c.subscribed.Add(1)
	if c.err != nil {
		return nil, c.err
	}
	return c.Transport.Subscribe(ctx, s)
}

// Permanent errors were retried forever.
func TestFault16PermanentErrorsAreNotRetried(t *testing.T) {
	t.Parallel()
	for name, err := range map[string]error{
		"topic":      nil, // the topic is missing
		"permission": &bus.Error{Code: bus.CodePermissionDenied, Op: "subscribe", Reason: "not this group"},
		"configured": &bus.Error{Code: bus.CodeInvalidArgument, Op: "subscribe", Reason: "the session timeout is too short for the broker"},
		"unknown":    errors.New("without a code"),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				tr, failed := memory.New()
				require.NoError(t, failed)
				counting := &countingTransport{Transport: tr, err: err}
				b, failed := bus.New(counting)
				require.NoError(t, failed)
				defer b.Close()
				reg := probe.New()
				c, failed := consumer.New(b, "t", nop, bus.Group("g"), consumer.WithProbe(reg, "c"))
				require.NoError(t, failed)
				require.NoError(t, c.Start())
				elapse(24 * time.Hour)
				require.Equal(t, consumer.Stopped, c.State())
				require.EqualValues(t, 1, counting.subscribed.Load(), "Subscribe is called once")
				want := bus.CodeNotFound
				if err != nil {
					want = bus.CodeOf(err)
					require.ErrorIs(t, c.Err(), err)
				}
				require.Equal(t, want, bus.CodeOf(c.Err()))
				require.Equal(t, c.Err(), c.Current().Cause)
				service, _ := reg.Snapshot().Service("c")
				require.Equal(t, probe.Failed, service.Status)
				require.NoError(t, c.Shutdown(t.Context()))
			})
		})
	}
}

// The option for tracing had no effect.
func TestFault17HandlersAreTraced(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		spans := tracetest.NewSpanRecorder()
		provider := sdk.NewTracerProvider(sdk.WithSpanProcessor(spans))
		r := newRig(t, 1, bus.WithHooks(busotel.New(busotel.WithTracerProvider(provider))))
		inner := func(ctx context.Context) trace.SpanContext { return trace.SpanContextFromContext(ctx) }
		var mu sync.Mutex
		seen := map[trace.SpanID]bool{}
		c := r.consumer(t, func(ctx context.Context, _ *bus.Delivery) error {
			mu.Lock()
			defer mu.Unlock()
			seen[inner(ctx).SpanID()] = true
			return nil
		}, consumer.WithHandlerTimeout(time.Minute))
		batches := r.batchConsumer(t, func(_ context.Context, ds []*bus.Delivery) error {
			mu.Lock()
			defer mu.Unlock()
			for _, d := range ds {
				seen[inner(d.Context).SpanID()] = true
			}
			return nil
		}, bus.Group("batches"))
		consuming(t, c)
		consuming(t, batches)
		r.publish(t, 0, 3, nil)
		elapse(time.Minute)
		sent := map[trace.SpanID]bool{}
		for _, s := range spans.Ended() {
			if s.Name() == "send t" {
				sent[s.SpanContext().SpanID()] = true
			}
		}
		require.Len(t, sent, 3)
		handled := 0
		for _, s := range spans.Ended() {
			if s.Name() != "process t" {
				continue
			}
			handled++
			require.True(t, sent[s.Parent().SpanID()], "a child of the producer span")
			require.True(t, seen[s.SpanContext().SpanID()], "the span of the handler's context")
		}
		require.Equal(t, 6, handled)
	})
}

// A health check took 30 s without a broker, and did not consider the state, lag and failures of
// the consumer.
func TestFault18HealthFollowsTheConsumer(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		reg := probe.New()
		r := newRig(t, 1)
		monitor, err := liveness.Attach(r.Bus, reg, liveness.WithServiceName("bus"))
		require.NoError(t, err)
		defer monitor.Close()
		c := r.consumer(t, func(context.Context, *bus.Delivery) error { return errTest }, consumer.WithProbe(reg, "consumer"))
		service := func() probe.Service {
			s, ok := reg.Snapshot().Service("consumer")
			require.True(t, ok)
			return s
		}
		require.Equal(t, probe.Prepared, service().Status)
		consuming(t, c)
		r.publish(t, 0, 7, nil)
		elapse(time.Minute)
		require.Equal(t, probe.Running, service().Status)
		require.True(t, reg.Ready())
		s := c.Stats()
		require.Len(t, s.Lag, 1)
		require.Equal(t, []any{"t", int64(7)}, []any{s.Lag[0].Topic, s.Lag[0].Records})
		require.Positive(t, s.Failed)
		require.EqualValues(t, 1, s.Blocked)

		begun := time.Now()
		r.faults.Disconnect(nil)
		synctest.Wait()
		require.Equal(t, probe.NotReady, service().Status)
		require.Equal(t, bus.CodeUnavailable, bus.CodeOf(service().Cause))
		require.False(t, reg.Ready())
		require.True(t, reg.Healthy(), "a lost connection is not a reason to restart")
		require.Zero(t, time.Since(begun), "the loss is known without a new connection")
		r.faults.Connect()
		elapse(time.Minute)
		require.True(t, reg.Ready())
		stop(t, c)
		require.Equal(t, probe.Prepared, service().Status)
		require.NoError(t, c.Shutdown(t.Context()))
		require.Equal(t, probe.Stopped, service().Status)
	})
}

// SASL was not supported.
func TestFault19SASL(t *testing.T) {
	t.Parallel()
	cluster, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.EnableSASL(), kfake.Superuser("SCRAM-SHA-512", "ada", "hunter2"),
		kfake.Superuser("PLAIN", "ada", "hunter2"), kfake.SeedTopics(1, "t"))
	require.NoError(t, err)
	t.Cleanup(cluster.Close)
	ctx, cancel := context.WithTimeout(t.Context(), testTimeout)
	defer cancel()
	secret := func(context.Context) (string, error) { return "hunter2", nil }
	for name, opts := range map[string][]kafka.Option{
		"PLAIN":         {kafka.WithInsecureSASL(), kafka.WithSASLPlain("ada", secret)},
		"SCRAM-SHA-512": {kafka.WithSASLScramSHA512("ada", secret)},
	} {
		b := onKafka(t, cluster.ListenAddrs(), opts...)
		got := make(chan string, 10)
		c, err := consumer.New(b, "t", func(_ context.Context, d *bus.Delivery) error {
			got <- string(d.Payload)
			return nil
		}, bus.Group(name), bus.FromNewest())
		require.NoError(t, err)
		require.NoError(t, c.Start())
		_, err = c.Wait(ctx, consumer.Consuming)
		require.NoError(t, err)
		require.NoError(t, b.Publish("t", message.NewMessage("id", []byte(name))))
		select {
		case s := <-got:
			require.Equal(t, name, s)
		case <-ctx.Done():
			require.FailNow(t, "no message was received")
		}
		require.NoError(t, c.Shutdown(ctx))
	}
	// A consumer without credentials reports that as its cause and goes on trying.
	b := onKafka(t, cluster.ListenAddrs(), kafka.WithSASLScramSHA512("ada", func(context.Context) (string, error) { return "", fmt.Errorf("the vault is sealed") }))
	c, err := consumer.New(b, "t", nop, bus.Group("rejected"))
	require.NoError(t, err)
	require.NoError(t, c.Start())
	for change := range c.Watch(ctx) {
		if change.State == consumer.Starting && bus.CodeOf(change.Cause) == bus.CodeUnauthenticated {
			break
		}
	}
	require.NoError(t, ctx.Err(), "the cause of Starting is that the credentials are rejected")
	require.NoError(t, c.Shutdown(ctx))
}
