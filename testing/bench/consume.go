package main

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/IBM/sarama"
	"github.com/ThreeDotsLabs/watermill-kafka/v3/pkg/kafka"
	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/trunkline/trunkline/bus"
)

// handler handles the record at this place.
type handler func(partition int32, offset int64)

// consumer consumes the loaded topic as a new group, and acknowledges each message, until it is stopped.
type consumer func(ctx context.Context, e *env, group string, h handler) (stop func() error, err error)

func consumeScenarios() []scenario {
	return []scenario{
		{group: "consume", name: "each message acknowledged", unit: "messages/s", kafka: true, peers: []peer{
			{name: "watermill-kafka", base: true, run: fast(consumeWatermill)},
			{name: "sarama, mark each", run: fast(consumeSarama)},
			{name: "franz-go, mark each", run: fast(consumeFranz)},
			{name: "Trunkline, by partition (the default)", ours: true, run: fast(consumeOurs())},
			{name: "Trunkline, by key", ours: true, run: fast(consumeOurs(bus.OrderByKey()))},
			{name: "Trunkline, Subscribe", ours: true, run: fast(subscribeOurs)},
		}},
		{group: "consume", name: "a handler of 1 ms", unit: "messages/s", kafka: true, peers: []peer{
			{name: "watermill-kafka", base: true, run: slow(consumeWatermill, false)},
			{name: "sarama", run: slow(consumeSarama, false)},
			{name: "franz-go, a goroutine a partition", run: slow(consumeFranz, false)},
			{name: "Trunkline, by partition (the default)", ours: true, run: slow(consumeOurs(), false)},
			{name: "Trunkline, by key, 8 windows of 32", ours: true, run: slow(consumeOurs(bus.OrderByKey(), bus.Window(32)), true)},
			{name: "time.Sleep in 256 goroutines", run: sleepers},
		}},
	}
}

func fast(c consumer) func(context.Context, *env) (sample, error) {
	return func(ctx context.Context, e *env) (sample, error) { return e.consume(ctx, c, e.keys, e.records, 0) }
}

func slow(c consumer, wide bool) func(context.Context, *env) (sample, error) {
	return func(ctx context.Context, e *env) (sample, error) {
		n := e.slowRecords
		if wide {
			n = e.records
		}
		return e.consume(ctx, c, e.keys, n, time.Millisecond)
	}
}

// sleepers measures the upper limit of 256 messages in flight.
func sleepers(ctx context.Context, e *env) (sample, error) {
	return e.measureRepeated(ctx, 256, 1, func(context.Context, int) error { time.Sleep(time.Millisecond); return nil })
}

// load creates and fills the topic that consumers read, once for each number of keys.
func (e *env) load(ctx context.Context, keys int) error {
	if e.loaded = e.topics[keys]; e.loaded != "" {
		return nil
	}
	topic, _, err := e.topic(ctx, "consume", partitions)
	if err != nil {
		return err
	}
	c, err := franz(e, &dialer{}, kgo.DefaultProduceTopic(topic))
	if err != nil {
		return err
	}
	defer c.Close()
	body := payload()
	for n := 0; n < e.records; {
		var batch []*kgo.Record
		for ; len(batch) < 1000 && n < e.records; n++ {
			batch = append(batch, &kgo.Record{Key: []byte("device-" + strconv.Itoa(n%keys)), Value: body,
				Headers: []kgo.RecordHeader{{Key: "_watermill_message_uuid", Value: []byte(uuid)}}})
		}
		if err := c.ProduceSync(ctx, batch...).FirstErr(); err != nil {
			return err
		}
	}
	if e.topics == nil {
		e.topics = make(map[int]string)
	}
	e.loaded, e.topics[keys] = topic, topic
	return nil
}

// consume measures a consumer until it has handled n messages. The first n/10 are the warm-up. A message that
// is delivered again is an error.
func (e *env) consume(ctx context.Context, consume consumer, keys, n int, work time.Duration) (sample, error) {
	if err := e.load(ctx, keys); err != nil {
		return sample{}, err
	}
	var (
		handled   [partitions][]atomic.Bool
		count     atomic.Int64
		begin     meter
		result    sample
		duplicate atomic.Int64
	)
	for i := range handled {
		handled[i] = make([]atomic.Bool, e.records)
	}
	runtime.GC()
	warm := int64(n / 10)
	warmed, done := make(chan struct{}), make(chan struct{})
	stop, err := consume(ctx, e, e.name("group"), func(p int32, offset int64) {
		if work > 0 {
			time.Sleep(work)
		}
		if handled[p][offset].Swap(true) {
			duplicate.Add(1)
			return
		}
		switch count.Add(1) {
		case warm:
			begin = readMeter()
			close(warmed)
		case int64(n):
			<-warmed
			result = begin.end(n - int(warm))
			close(done)
		}
	})
	if err != nil {
		return sample{}, err
	}
	select {
	case <-done:
	case <-ctx.Done():
		err = fmt.Errorf("only %d of %d messages were delivered: %w", count.Load(), n, ctx.Err())
	}
	if stopErr := stop(); err == nil {
		err = stopErr
	}
	if err == nil && duplicate.Load() > 0 {
		err = fmt.Errorf("%d messages were delivered again", duplicate.Load())
	}
	return result, err
}

func consumeOurs(opts ...bus.SubscribeOption) consumer {
	return func(ctx context.Context, e *env, group string, h handler) (func() error, error) {
		b, err := ourKafka(e, &dialer{})
		if err != nil {
			return nil, err
		}
		_, err = b.Consume(ctx, e.loaded, func(_ context.Context, d *bus.Delivery) error {
			h(d.Record.Partition, d.Record.Offset)
			return nil
		}, append([]bus.SubscribeOption{bus.Group(group)}, opts...)...)
		return b.Close, err
	}
}

// subscribeOurs uses the watermill interface of the bus. Several goroutines read its channel, as in
// watermill's router.
func subscribeOurs(ctx context.Context, e *env, group string, h handler) (func() error, error) {
	b, err := ourKafka(e, &dialer{}, bus.WithSubscribeDefaults(bus.Group(group)))
	if err != nil {
		return nil, err
	}
	messages, err := b.Subscribe(ctx, e.loaded)
	if err != nil {
		return nil, errors.Join(err, b.Close())
	}
	read := readAll(messages, func(m *message.Message) {
		r, _ := bus.RecordFromContext(m.Context())
		h(r.Partition, r.Offset)
	})
	return func() error { err := b.Close(); read.Wait(); return err }, nil
}

func consumeWatermill(ctx context.Context, e *env, group string, h handler) (func() error, error) {
	s, err := watermillSubscriber(e, group)
	if err != nil {
		return nil, err
	}
	messages, err := s.Subscribe(ctx, e.loaded)
	if err != nil {
		return nil, errors.Join(err, s.Close())
	}
	read := readAll(messages, func(m *message.Message) {
		p, _ := kafka.MessagePartitionFromCtx(m.Context())
		o, _ := kafka.MessagePartitionOffsetFromCtx(m.Context())
		h(p, o)
	})
	return func() error { err := s.Close(); read.Wait(); return err }, nil
}

// readAll handles the messages with one goroutine for each partition.
func readAll(messages <-chan *message.Message, handle func(*message.Message)) *sync.WaitGroup {
	var read sync.WaitGroup
	for range partitions {
		read.Go(func() {
			for m := range messages {
				handle(m)
				m.Ack()
			}
		})
	}
	return &read
}

type saramaHandler struct{ handle handler }

func (saramaHandler) Setup(sarama.ConsumerGroupSession) error   { return nil }
func (saramaHandler) Cleanup(sarama.ConsumerGroupSession) error { return nil }

func (s saramaHandler) ConsumeClaim(session sarama.ConsumerGroupSession, claim sarama.ConsumerGroupClaim) error {
	for m := range claim.Messages() {
		s.handle(m.Partition, m.Offset)
		session.MarkMessage(m, "")
		if session.Context().Err() != nil {
			break
		}
	}
	return nil
}

func consumeSarama(ctx context.Context, e *env, group string, h handler) (func() error, error) {
	g, err := sarama.NewConsumerGroup(e.brokers, group, saramaDefaults(&dialer{}))
	if err != nil {
		return nil, err
	}
	return runGroup(ctx, g, e.loaded, saramaHandler{h}), nil
}

// runGroup consumes as a member of a group until it is stopped.
func runGroup(ctx context.Context, g sarama.ConsumerGroup, topic string, h sarama.ConsumerGroupHandler) (stop func() error) {
	ctx, cancel := context.WithCancel(ctx)
	ended := make(chan error, 1)
	go func() {
		for ctx.Err() == nil {
			if err := g.Consume(ctx, []string{topic}, h); err != nil && ctx.Err() == nil {
				ended <- err
				return
			}
		}
		ended <- nil
	}()
	return func() error {
		cancel()
		return errors.Join(<-ended, g.Close())
	}
}

func consumeFranz(ctx context.Context, e *env, group string, h handler) (func() error, error) {
	c, err := franz(e, &dialer{}, kgo.ConsumerGroup(group), kgo.ConsumeTopics(e.loaded), kgo.AutoCommitMarks(),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(ctx)
	var polling sync.WaitGroup
	polling.Go(func() {
		for ctx.Err() == nil {
			var each sync.WaitGroup
			c.PollFetches(ctx).EachPartition(func(p kgo.FetchTopicPartition) {
				each.Go(func() {
					for _, r := range p.Records {
						if ctx.Err() != nil {
							return
						}
						h(r.Partition, r.Offset)
						c.MarkCommitRecords(r)
					}
				})
			})
			each.Wait()
		}
	})
	return func() error { cancel(); polling.Wait(); c.CloseAllowingRebalance(); return nil }, nil
}
