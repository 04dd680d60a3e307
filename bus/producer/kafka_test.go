package producer_test

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/trunkline/trunkline/bus"
	"github.com/trunkline/trunkline/bus/producer"
	"github.com/trunkline/trunkline/testing/kafkatest"
	"github.com/trunkline/trunkline/testing/kafkatest/kafkatb"
	"github.com/trunkline/trunkline/transport/kafka"
)

// onKafka makes a bus on a broker whose network a test can cut.
func onKafka(t *testing.T, partitions int) (*bus.Bus, *kafkatest.Dialer, string) {
	broker := kafkatb.New(t)
	name := kafkatb.Topic(t, broker, partitions)
	dialer := &kafkatest.Dialer{}
	transport, err := kafka.New(broker.Addrs(), kafka.WithDialer(dialer.DialContext))
	require.NoError(t, err)
	b, err := bus.New(transport, bus.WithCloseTimeout(time.Minute))
	require.NoError(t, err)
	t.Cleanup(func() { b.Close() })
	return b, dialer, name
}

// The network is cut and restored while messages are in flight. Each message must get one
// report that agrees with the log, and each key must keep its order.
func TestKafkaOutages(t *testing.T) {
	t.Parallel()
	for name, policy := range map[string]producer.OutagePolicy{"wait": producer.Wait, "fail fast": producer.FailFast, "buffer": producer.Buffer} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ctx, cancel := context.WithTimeout(t.Context(), 90*time.Second)
			defer cancel()
			b, dialer, topic := onKafka(t, 2)
			dialer.Cut()
			p, err := producer.New(b, topic, producer.WithOutagePolicy(policy), producer.WithMaxOutstanding(500, 1<<20))
			require.NoError(t, err, "New does not wait for a broker")
			if name != "fail fast" {
				time.AfterFunc(100*time.Millisecond, dialer.Restore)
			} else {
				dialer.Restore()
				require.NoError(t, b.Ready(ctx))
			}

			const keys, each = 4, 60
			var mu sync.Mutex
			reports := map[string]producer.Report{}
			var senders, cuts sync.WaitGroup
			for k := range keys {
				senders.Go(func() {
					for i := range each {
						text := fmt.Sprintf("k%d/%03d", k, i)
						m := message.NewMessage(text, []byte(text))
						bus.SetKey(m, text[:2])
						if k == 0 && i%20 == 10 {
							dialer.Cut()
							cuts.Add(1)
							time.AfterFunc(200*time.Millisecond, func() { dialer.Restore(); cuts.Done() })
						}
						receipt, err := p.SendAsync(ctx, m)
						r := producer.Report{Err: err}
						if err == nil && i%10 == 0 {
							r, _ = receipt.Wait(ctx)
						}
						senders.Go(func() {
							if err == nil {
								r, _ = receipt.Wait(ctx)
							}
							mu.Lock()
							defer mu.Unlock()
							reports[text] = r
						})
					}
				})
			}
			senders.Wait()
			assert.NoError(t, p.Shutdown(ctx))
			cuts.Wait() // the last restore may still be pending
			require.NoError(t, b.Ready(ctx))
			require.Len(t, reports, keys*each)
			sent := 0
			for _, r := range reports {
				if r.Err == nil {
					sent++
				}
			}
			require.NotZero(t, sent)
			at := readBack(ctx, t, b, topic)
			for text, r := range reports {
				switch where, there := at[text]; {
				case r.Err == nil:
					require.Equal(t, r.Partition, where.partition, text)
					if r.Offset >= 0 { // unknown if the broker stored it in an earlier attempt
						require.Equal(t, r.Offset, where.offset, text)
					}
				case r.Code() != bus.CodeOutcomeUnknown:
					require.False(t, there, "%s is in the log although its report has the error %v", text, r.Err)
				}
			}
		})
	}
}

type place struct {
	partition int32
	offset    int64
}

// readBack returns the positions of the messages in the topic. It checks that each is there
// once, and that each key is in order.
func readBack(ctx context.Context, t *testing.T, b *bus.Bus, topic string) map[string]place {
	for i := range int32(2) {
		m := message.NewMessage("end", nil)
		bus.SetPartition(m, i)
		require.NoError(t, b.Publish(topic, m))
	}
	var mu sync.Mutex
	at, last, ends, done := map[string]place{}, map[string]string{}, 0, make(chan struct{})
	sub, err := b.Consume(ctx, topic, func(_ context.Context, d *bus.Delivery) error {
		mu.Lock()
		defer mu.Unlock()
		if d.UUID == "end" {
			if ends++; ends == 2 {
				close(done)
			}
			return nil
		}
		text, key := string(d.Payload), string(d.Record.Key)
		assert.NotContains(t, at, text, "once")
		assert.Less(t, last[key], text, "in order")
		at[text], last[key] = place{d.Record.Partition, d.Record.Offset}, text
		return nil
	}, bus.FromOldest())
	require.NoError(t, err)
	select {
	case <-done:
	case <-ctx.Done():
		t.Fatal("did not reach the end of the log")
	}
	require.NoError(t, sub.Shutdown(ctx))
	return at
}
