package kafka_test

import (
	"context"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/IBM/sarama"
	"github.com/stretchr/testify/require"

	"github.com/trunkline/trunkline/bus/driver"
	"github.com/trunkline/trunkline/transport/kafka"
)

// A batch without keys goes to one partition in few requests: sarama sends the first record
// at once, and the others after the answer.
func TestBatchWithoutKeysGoesToOnePartition(t *testing.T) {
	t.Parallel()
	r := setup(t, 8)
	requirePublished(t, publish(t, r, r.topic, anyPartition("first")...))
	before := kafka.StatsOf(r.Transport)
	const rounds = 20
	used := make(map[int32]bool)
	for range rounds {
		outs := publish(t, r, r.topic, anyPartition(numbered("", 100)...)...)
		requirePublished(t, outs)
		for _, o := range outs {
			require.Equal(t, outs[0].Partition, o.Partition)
		}
		used[outs[0].Partition] = true
	}
	after := kafka.StatsOf(r.Transport)
	require.EqualValues(t, rounds*100, after.Produced-before.Produced)
	requests := after.ProduceRequests - before.ProduceRequests
	t.Logf("%d records in %d requests, to %d partitions", rounds*100, requests, len(used))
	require.Less(t, requests, uint64(rounds*100/3), "there was about one request for each record")
	require.Greater(t, len(used), 2, "the batches must use several partitions")
}

func TestSingleMessagesUseSeveralPartitions(t *testing.T) {
	t.Parallel()
	r := setup(t, 4)
	used := make(map[int32]bool)
	for range 40 {
		outs := publish(t, r, r.topic, anyPartition("x")...)
		requirePublished(t, outs)
		used[outs[0].Partition] = true
	}
	require.Greater(t, len(used), 1)
}

func TestCompressedRecordsArriveUnchanged(t *testing.T) {
	t.Parallel()
	for name, codec := range map[string]sarama.CompressionCodec{
		"gzip": sarama.CompressionGZIP, "snappy": sarama.CompressionSnappy, "lz4": sarama.CompressionLZ4, "zstd": sarama.CompressionZSTD,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := setup(t, 4, kafka.WithCompression(codec), kafka.WithLinger(20*time.Millisecond))
			requirePublished(t, publish(t, r, r.topic, anyPartition("first")...))
			before := kafka.StatsOf(r.Transport).ProduceRequests
			want := make([]string, 100)
			for i := range want {
				want[i] = strings.Repeat(name, 100+i)
			}
			outs := publish(t, r, r.topic, anyPartition(want...)...)
			requirePublished(t, outs)
			t.Logf("%d requests", kafka.StatsOf(r.Transport).ProduceRequests-before)
			s := subscribe(t, r, driver.Subscription{
				Topic: r.topic, Partitions: []int32{outs[0].Partition},
				Start: driver.Start{Kind: driver.StartAtOffset, Offset: outs[0].Offset},
			})
			require.Equal(t, want, payloads(fetch(t, awaitAssigned(t, s)[0], 100)))
		})
	}
}

func TestMaxMessageBytesLimitsRecords(t *testing.T) {
	t.Parallel()
	r := setup(t, 1, kafka.WithMaxMessageBytes(100<<10))
	limit := r.Capabilities().MaxMessageBytes
	require.Equal(t, 97_656, limit)
	requirePublished(t, publish(t, r, r.topic, item{payload: string(make([]byte, limit-100))}))
	require.Equal(t, driver.CodeTooLarge, driver.CodeOf(publish(t, r, r.topic, item{payload: string(make([]byte, 100<<10))})[0].Err))
	usual := setup(t, 1)
	require.Equal(t, 1_000_000, usual.Capabilities().MaxMessageBytes)
	tuned := setup(t, 1, kafka.WithSaramaConfig(func(c *sarama.Config) { c.Producer.MaxMessageBytes = 100 << 10 }))
	require.Equal(t, limit, tuned.Capabilities().MaxMessageBytes)
}

// Publishers that never pause continue after an outage, and every acknowledged message is in
// the log once.
func TestBusyPublisherContinuesAfterAnOutage(t *testing.T) {
	t.Parallel()
	r := setup(t, 1)
	seen := observe(r)
	seen.await(t, driver.Connected)
	ctx, cancel := context.WithCancel(testContext(t))
	defer cancel()
	var mu sync.Mutex
	var stored []string
	failed := make(chan struct{}, 1)
	again := make(chan struct{}, 1)
	restored := false
	var wg sync.WaitGroup
	for _, worker := range []string{"a", "b", "c", "d"} {
		wg.Go(func() {
			for _, p := range numbered(worker, 100_000) {
				if ctx.Err() != nil {
					return
				}
				short, done := context.WithTimeout(ctx, 20*time.Millisecond)
				outs, s := batch(short, r.topic, anyPartition(p)...)
				r.Publish(outs)
				o := s.wait()[0]
				done()
				mu.Lock()
				notify := failed
				if o.Err == nil {
					stored = append(stored, p)
					notify = nil
					if restored {
						notify = again
					}
				}
				mu.Unlock()
				select {
				case notify <- struct{}{}:
				default:
				}
			}
		})
	}
	for range 2 {
		r.net.Cut()
		seen.await(t, driver.Disconnected)
		receive(t, failed)
		r.net.Restore()
		mu.Lock()
		restored = true
		mu.Unlock()
		select {
		case <-again:
		case <-ctx.Done():
			t.Fatal("no message was acknowledged after the outage")
		}
		mu.Lock()
		restored = false
		mu.Unlock()
		seen.await(t, driver.Connected)
		select { // drop the signals of this round
		case <-again:
		default:
		}
		select {
		case <-failed:
		default:
		}
	}
	cancel()
	wg.Wait()
	last := publish(t, r, r.topic, anyPartition("last")...)
	requirePublished(t, last)
	s := subscribe(t, r, driver.Subscription{Topic: r.topic})
	log := make(map[string]int)
	for _, rec := range fetch(t, awaitAssigned(t, s)[0], int(last[0].Offset)+1) {
		log[string(rec.Payload)]++
	}
	for _, p := range stored {
		require.Equal(t, 1, log[p], "%s was acknowledged", p)
	}
}
