package kafka_test

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/IBM/sarama"
	"github.com/stretchr/testify/require"

	"github.com/trunkline/trunkline/bus/driver"
	"github.com/trunkline/trunkline/testing/kafkatest"
	"github.com/trunkline/trunkline/testing/kafkatest/kafkatb"
	"github.com/trunkline/trunkline/transport/kafka"
)

func TestLostConnectionIsReportedAndRestored(t *testing.T) {
	t.Parallel()
	r := setup(t, 1)
	seen := observe(r)
	seen.await(t, driver.Connected)
	requirePublished(t, publish(t, r, r.topic, anyPartition("a")...))
	began := time.Now()
	r.net.Cut()
	c := seen.await(t, driver.Disconnected)
	t.Logf("detected after %v", time.Since(began))
	require.Equal(t, driver.CodeUnavailable, driver.CodeOf(c.Cause))
	require.Equal(t, driver.CodeUnavailable, driver.CodeOf(r.Ping(testContext(t))))
	require.Equal(t, driver.CodeUnavailable, driver.CodeOf(publish(t, r, r.topic, anyPartition("lost")...)[0].Err))
	began = time.Now()
	r.net.Restore()
	seen.await(t, driver.Connected)
	t.Logf("available again after %v", time.Since(began))
	require.NoError(t, r.Ping(testContext(t)))
	out := publish(t, r, r.topic, anyPartition("b")...)
	requirePublished(t, out)
	require.Equal(t, int64(1), out[0].Offset) // the message that failed with Unavailable was not sent
	require.Equal(t, "connected disconnected connected", seen.String())
}

func TestNewProducerDoesNotRetryASeedThatIsGone(t *testing.T) {
	t.Parallel()
	b := kafkatb.New(t)
	topic := kafkatb.Topic(t, b, 1)
	for range 8 { // sarama asks the seeds in random order
		gone, _ := unusedAddr(t)
		var asked atomic.Int64
		k, err := kafka.New(append([]string{gone}, b.Addrs()...), kafka.WithDialer(func(ctx context.Context, network, addr string) (net.Conn, error) {
			if addr == gone {
				asked.Add(1)
			}
			return new(net.Dialer).DialContext(ctx, network, addr)
		}))
		require.NoError(t, err)
		require.NoError(t, k.Ready(testContext(t)))
		requirePublished(t, publish(t, k, topic, anyPartition("a")...))
		require.Less(t, asked.Load(), int64(25), "the producer dialed the lost seed repeatedly")
		require.NoError(t, k.Close(testContext(t)))
	}
}

// While there is a connection, only the context of a message limits the wait for a new
// producer. PublishWait does not.
func TestMessageWaitsForASlowProducer(t *testing.T) {
	t.Parallel()
	b := kafkatb.New(t)
	topic := kafkatb.Topic(t, b, 1)
	const wait = 10 * time.Millisecond
	var slow atomic.Bool
	made := make(chan struct{})
	k := open(t, b, kafka.WithTimeouts(kafka.Timeouts{PublishWait: wait, Dial: testTimeout}), kafka.WithDialer(func(ctx context.Context, network, addr string) (net.Conn, error) {
		if slow.Load() {
			select {
			case <-made:
			case <-ctx.Done():
			}
		}
		return new(net.Dialer).DialContext(ctx, network, addr)
	}))
	slow.Store(true)
	outs, waiting := batch(testContext(t), topic, anyPartition("a")...)
	go k.Publish(outs)
	short, cancel := context.WithTimeout(t.Context(), 30*wait)
	defer cancel()
	impatient, expired := batch(short, topic, anyPartition("b")...)
	k.Publish(impatient)
	require.Equal(t, driver.CodeDeadlineExceeded, driver.CodeOf(expired.wait()[0].Err), "only its context must end the wait")
	close(made)
	requirePublished(t, waiting.wait())
}

// When the connection is lost while the first producer is being made, PublishWait limits the
// wait again. sarama would retry for twenty seconds.
func TestFirstMessageFailsSoonWithoutConnection(t *testing.T) {
	t.Parallel()
	r := setup(t, 1, kafka.WithTimeouts(kafka.Timeouts{PublishWait: 100 * time.Millisecond}))
	seen := observe(r)
	r.net.Cut()
	outs, s := batch(testContext(t), r.topic, anyPartition("a")...)
	began := time.Now()
	r.Publish(outs)
	require.Equal(t, driver.CodeUnavailable, driver.CodeOf(s.wait()[0].Err))
	require.Less(t, time.Since(began), 15*time.Second, "the message waited for all of sarama's attempts")
	r.net.Restore()
	seen.await(t, driver.Connected)
	requirePublished(t, publish(t, r, r.topic, anyPartition("b")...))
}

func TestStalledConnectionIsReportedAndRestored(t *testing.T) {
	t.Parallel()
	r := setup(t, 1, kafka.WithTimeouts(kafka.Timeouts{Request: 1500 * time.Millisecond, KeepAlive: 100 * time.Millisecond}))
	seen := observe(r)
	seen.await(t, driver.Connected)
	requirePublished(t, publish(t, r, r.topic, anyPartition("a")...))
	r.net.Stall()
	began := time.Now()
	outs, s := batch(testContext(t), r.topic, anyPartition("?")...)
	r.Publish(outs)
	require.Contains(t, []driver.Code{driver.CodeOutcomeUnknown, driver.CodeUnavailable}, driver.CodeOf(s.wait()[0].Err))
	t.Logf("outcome after %v: %v", time.Since(began), s.out[0].Err)
	seen.await(t, driver.Disconnected)
	t.Logf("detected after %v", time.Since(began))
	r.net.Restore()
	began = time.Now()
	seen.await(t, driver.Connected)
	t.Logf("available again after %v", time.Since(began))
	requirePublished(t, publish(t, r, r.topic, anyPartition("b")...))
}

// When all brokers become unavailable, even a large number of messages in flight gets its
// outcomes soon. Later messages wait for them.
func TestManyMessagesInFlightEndSoonInAnOutage(t *testing.T) {
	t.Parallel()
	r := setup(t, 1)
	requirePublished(t, publish(t, r, r.topic, anyPartition("first")...))
	r.net.Stall()
	outs, s := batch(testContext(t), r.topic, anyPartition(numbered("x", 1000)...)...)
	r.Publish(outs)
	began := time.Now()
	r.net.Cut()
	for _, o := range s.wait() {
		require.Contains(t, []driver.Code{driver.CodeOutcomeUnknown, driver.CodeUnavailable}, driver.CodeOf(o.Err))
	}
	took := time.Since(began)
	t.Logf("all completed after %v", took)
	require.Less(t, took, 1000*50*time.Millisecond*3/4, "each message waited for the one before")
	r.net.Restore()
	requirePublished(t, publish(t, r, r.topic, anyPartition("last")...))
}

// The outcomes of messages that are in flight when the network fails agree with the log.
func TestOutcomesAgreeWithTheLogAfterAnOutage(t *testing.T) {
	t.Parallel()
	r := setup(t, 1)
	seen := observe(r)
	other := open(t, r.broker)
	requirePublished(t, publish(t, r, r.topic, anyPartition("first")...))
	var wg sync.WaitGroup
	var mu sync.Mutex
	outcomes := make(map[string]error)
	started := make(chan struct{}, 1)
	ctx := testContext(t)
	for _, worker := range []string{"a", "b", "c", "d"} {
		wg.Go(func() {
			for i := 0; ; i++ { // until the cut
				p := fmt.Sprint(worker, i)
				outs, s := batch(ctx, r.topic, anyPartition(p)...)
				r.Publish(outs)
				o := s.wait()[0]
				mu.Lock()
				outcomes[p] = o.Err
				mu.Unlock()
				if o.Err != nil {
					return
				}
				if i == 5 {
					select {
					case started <- struct{}{}:
					default:
					}
				}
			}
		})
	}
	receive(t, started)
	r.net.Cut()
	wg.Wait()
	seen.await(t, driver.Disconnected)
	r.net.Restore()
	seen.await(t, driver.Connected)
	out := publish(t, r, r.topic, anyPartition("last")...)
	requirePublished(t, out)

	s := subscribe(t, other, driver.Subscription{Topic: r.topic})
	p := awaitAssigned(t, s)
	log := make(map[string]int)
	for _, rec := range fetch(t, p[0], int(out[0].Offset)+1) {
		log[string(rec.Payload)]++
	}
	failed := 0
	for payload, err := range outcomes {
		switch {
		case err == nil:
			require.Equal(t, 1, log[payload], "%s was acknowledged", payload)
		case driver.CodeOf(err) == driver.CodeUnavailable:
			failed++
			require.Zero(t, log[payload], "%s was not sent: %v", payload, err)
		default:
			failed++
			require.Equal(t, driver.CodeOutcomeUnknown, driver.CodeOf(err), "%v", err)
			require.LessOrEqual(t, log[payload], 1)
		}
	}
	require.Equal(t, 4, failed, "the last message of each worker must fail")
}

func TestReaderContinuesAfterAnOutage(t *testing.T) {
	t.Parallel()
	r := setup(t, 2)
	seen := observe(r)
	other := open(t, r.broker)
	s := subscribe(t, r, driver.Subscription{Topic: r.topic, Start: driver.Start{Kind: driver.StartNewest}})
	p := awaitAssigned(t, s)
	require.Len(t, p, 2)
	want := make(map[int32][]string)
	send := func(prefix string) {
		for i, text := range numbered(prefix, 20) {
			part := int32(i % 2)
			requirePublished(t, publish(t, other, r.topic, item{payload: text, partition: part}))
			want[part] = append(want[part], text)
		}
	}
	got := make(map[int32][]string)
	read := func() {
		for _, c := range p {
			got[c.ID()] = append(got[c.ID()], payloads(fetch(t, c, 10))...)
		}
	}
	send("before")
	read()
	for range 2 {
		r.net.Cut()
		seen.await(t, driver.Disconnected)
		ev, err := s.Next(testContext(t))
		require.NoError(t, err)
		require.False(t, ev.Assigned)
		require.Equal(t, driver.CodeUnavailable, driver.CodeOf(ev.Cause))
		send("while")
		r.net.Restore()
		require.Empty(t, awaitAssigned(t, s)) // the same claims continue
		read()
		require.NoError(t, p[0].Context().Err())
	}
	send("after")
	read()
	require.Equal(t, want, got)
}

func TestCloseEndsWithItsContext(t *testing.T) {
	t.Parallel()
	b := kafkatb.New(t)
	topic := kafkatb.Topic(t, b, 1)
	d := &kafkatest.Dialer{}
	k, err := kafka.New(b.Addrs(), kafka.WithDialer(d.DialContext))
	require.NoError(t, err)
	require.NoError(t, k.Ready(testContext(t)))
	requirePublished(t, publish(t, k, topic, anyPartition("a")...))
	d.Stall()
	outs, s := batch(testContext(t), topic, anyPartition(numbered("", 20)...)...)
	k.Publish(outs)
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	require.Equal(t, driver.CodeDeadlineExceeded, driver.CodeOf(k.Close(ctx)))
	for i, o := range s.wait() {
		// Unavailable: the message waited for the request before its own
		require.Contains(t, []driver.Code{driver.CodeOutcomeUnknown, driver.CodeUnavailable}, driver.CodeOf(o.Err), "%v", o.Err)
		require.Equal(t, 1, s.n[i])
	}
	require.Equal(t, driver.CodeDeadlineExceeded, driver.CodeOf(k.Close(testContext(t))), "a later call must return the result of the first")
	d.Restore()
}

func TestCloseDoesNotWaitForAProducerThatCannotBeMade(t *testing.T) {
	t.Parallel()
	b := kafkatb.New(t)
	topic := kafkatb.Topic(t, b, 1)
	d := &kafkatest.Dialer{}
	var dials atomic.Int64
	k, err := kafka.New(b.Addrs(), kafka.WithDialer(func(ctx context.Context, network, addr string) (net.Conn, error) {
		dials.Add(1)
		return d.DialContext(ctx, network, addr)
	}))
	require.NoError(t, err)
	require.NoError(t, k.Ready(testContext(t)))
	d.Stall()
	before := dials.Load()
	outs, s := batch(testContext(t), topic, anyPartition("a")...)
	go k.Publish(outs)
	require.Eventually(t, func() bool { return dials.Load() > before }, testTimeout, time.Millisecond)
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	began := time.Now()
	_ = k.Close(ctx) // it may succeed, because no message was sent
	require.Less(t, time.Since(began), 50*100*time.Millisecond*3/4, "Close waited for all of sarama's attempts")
	require.Error(t, s.wait()[0].Err)
	d.Restore()
}

func TestMessageToAWrongPartitionDoesNotReplaceTheProducer(t *testing.T) {
	t.Parallel()
	b := kafkatb.New(t)
	topic := kafkatb.Topic(t, b, 1)
	var dials atomic.Int64
	k := open(t, b, kafka.WithDialer(func(ctx context.Context, network, addr string) (net.Conn, error) {
		dials.Add(1)
		return new(net.Dialer).DialContext(ctx, network, addr)
	}))
	requirePublished(t, publish(t, k, topic, anyPartition("a")...))
	before := dials.Load()
	const wrong = 50
	for range wrong {
		require.Equal(t, driver.CodeInvalidArgument, driver.CodeOf(publish(t, k, topic, item{partition: 9})[0].Err))
		requirePublished(t, publish(t, k, topic, anyPartition("b")...))
	}
	require.Less(t, dials.Load()-before, int64(wrong), "a new producer was made for each wrong message")
}

// sarama sends each error of a partition to a channel with 256 slots, and blocks if it is
// full. Reading must continue after an outage with more errors than that.
func TestReaderContinuesAfterManyErrors(t *testing.T) {
	t.Parallel()
	const partitions = 16
	log := newLogMessages()
	r := setup(t, partitions, kafka.WithLogger(slog.New(log)), kafka.WithSaramaConfig(func(c *sarama.Config) {
		c.Consumer.Retry.BackoffFunc = func(int) time.Duration { return time.Millisecond }
		c.Metadata.Retry.Max = 0
	}))
	seen := observe(r)
	other := open(t, r.broker)
	s := subscribe(t, r, driver.Subscription{Topic: r.topic})
	parts := awaitAssigned(t, s)
	require.Len(t, parts, partitions)
	for _, p := range parts {
		requirePublished(t, publish(t, other, r.topic, item{payload: "before", partition: p.ID()}))
	}
	for _, p := range parts {
		fetch(t, p, 1)
	}
	r.net.Cut()
	seen.await(t, driver.Disconnected)
	log.awaitMany(t, "partition consumer reported an error", 600)
	for _, p := range parts {
		requirePublished(t, publish(t, other, r.topic, item{payload: "during the outage", partition: p.ID()}))
	}
	r.net.Restore()
	seen.await(t, driver.Connected)
	for _, p := range parts {
		got := fetch(t, p, 1)
		require.Equal(t, "during the outage", string(got[0].Payload))
		require.EqualValues(t, 1, got[0].Offset)
	}
}
