package main

import (
	"context"
	"fmt"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/IBM/sarama"
	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/trunkline/trunkline/bus"
)

// publisher publishes n messages and returns when all are acknowledged. caller is the number of the calling
// goroutine. It is safe for concurrent use.
type publisher func(ctx context.Context, caller, n int) error

// opener opens a publisher to a topic.
type opener func(e *env, d *dialer, topic string, keyed bool) (p publisher, close func() error, err error)

func publishScenarios() []scenario {
	all := []struct {
		name string
		base bool
		open opener
	}{
		{"watermill-kafka", false, openWatermill},
		{"sarama, its defaults", false, openSarama(saramaDefaults)},
		{"sarama, like for like", true, openSarama(saramaLikeOurs)},
		{"franz-go, its defaults (linger 10 ms)", false, openFranz()},
		{"franz-go, no linger", false, openFranz(kgo.ProducerLinger(0))},
		{"Trunkline", false, openOurs},
	}
	shapes := []struct {
		name             string
		callers, atATime int
		keyed, latency   bool
	}{
		{"100 messages at a time", 1, 100, false, false},
		{"100 messages at a time, each with a key", 1, 100, true, false},
		{"64 goroutines, one message each", 64, 1, false, true},
		{"one message at a time", 1, 1, false, true},
	}
	var scenarios []scenario
	for _, shape := range shapes {
		s := scenario{group: "publish", name: shape.name, unit: "messages/s", kafka: true, latency: shape.latency}
		for _, p := range all {
			s.peers = append(s.peers, peer{name: p.name, ours: p.name == "Trunkline", base: p.base,
				run: func(ctx context.Context, e *env) (sample, error) {
					return e.publish(ctx, p.open, shape.callers, shape.atATime, shape.keyed)
				}})
		}
		scenarios = append(scenarios, s)
	}
	return scenarios
}

// publish measures a publisher. It checks that the log has exactly the acknowledged messages.
func (e *env) publish(ctx context.Context, open opener, callers, atATime int, keyed bool) (sample, error) {
	topic, drop, err := e.topic(ctx, "publish", partitions)
	if err != nil {
		return sample{}, err
	}
	defer drop()
	d := &dialer{}
	publish, closePublisher, err := open(e, d, topic, keyed)
	if err != nil {
		return sample{}, err
	}
	var acknowledged atomic.Int64
	s, err := e.measureRepeated(ctx, callers, atATime, func(ctx context.Context, caller int) error {
		if err := publish(ctx, caller, atATime); err != nil {
			return err
		}
		acknowledged.Add(int64(atATime))
		return nil
	})
	if closeErr := closePublisher(); err == nil {
		err = closeErr
	}
	if err != nil {
		return s, err
	}
	s.PerRequest = float64(acknowledged.Load()) / float64(max(1, d.produced.Load()))
	return s, e.checkCount(ctx, topic, acknowledged.Load())
}

// checkCount waits until a topic has n records. With acknowledgement by the leader only, readers get the last
// records a little after the acknowledgement. checkCount returns an error at once if there are more than n.
func (e *env) checkCount(ctx context.Context, topic string, n int64) error {
	for deadline := time.Now().Add(10 * time.Second); ; {
		have, err := e.count(topic)
		switch {
		case err != nil || have == n:
			return err
		case have > n || time.Now().After(deadline):
			return fmt.Errorf("%d messages were acknowledged, but the log has %d", n, have)
		}
		select {
		case <-time.After(100 * time.Millisecond):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// count returns the number of records of a topic.
func (e *env) count(topic string) (int64, error) {
	c, err := sarama.NewClient(e.brokers, saramaDefaults(&dialer{}))
	if err != nil {
		return 0, err
	}
	defer c.Close()
	var n int64
	for p := range int32(partitions) {
		end, err := c.GetOffset(topic, p, sarama.OffsetNewest)
		if err != nil {
			return 0, err
		}
		n += end
	}
	return n, nil
}

// keys are the keys of records with a key.
var keys = func() (k [1000]string) {
	for i := range k {
		k[i] = "device-" + strconv.Itoa(i)
	}
	return k
}()

// newMessages creates messages as users of watermill and of Trunkline do.
func newMessages(n int, body []byte, keyed bool) []*message.Message {
	msgs := make([]*message.Message, n)
	for i := range msgs {
		msgs[i] = message.NewMessage(uuid, body)
		if keyed {
			bus.SetKey(msgs[i], keys[i%len(keys)])
		}
	}
	return msgs
}

func openWatermill(e *env, d *dialer, topic string, keyed bool) (publisher, func() error, error) {
	p, err := watermillPublisher(e, d)
	if err != nil {
		return nil, nil, err
	}
	body := payload()
	return func(_ context.Context, _, n int) error {
		return p.Publish(topic, newMessages(n, body, false)...) // its default marshaler does not support keys
	}, p.Close, nil
}

func openOurs(e *env, d *dialer, topic string, keyed bool) (publisher, func() error, error) {
	b, err := ourKafka(e, d)
	if err != nil {
		return nil, nil, err
	}
	body := payload()
	return func(_ context.Context, _, n int) error {
		return b.Publish(topic, newMessages(n, body, keyed)...)
	}, b.Close, nil
}

func openFranz(opts ...kgo.Opt) opener {
	return func(e *env, d *dialer, topic string, keyed bool) (publisher, func() error, error) {
		c, err := franz(e, d, append(opts, kgo.DefaultProduceTopic(topic))...)
		if err != nil {
			return nil, nil, err
		}
		body := payload()
		return func(ctx context.Context, _, n int) error {
			records := make([]*kgo.Record, n)
			for i := range records {
				records[i] = &kgo.Record{Value: body, Headers: []kgo.RecordHeader{{Key: "_watermill_message_uuid", Value: []byte(uuid)}}}
				if keyed {
					records[i].Key = []byte(keys[i%len(keys)])
				}
			}
			return c.ProduceSync(ctx, records...).FirstErr()
		}, func() error { c.Close(); return nil }, nil
	}
}

func openSarama(configure func(*dialer) *sarama.Config) opener {
	return func(e *env, d *dialer, topic string, keyed bool) (publisher, func() error, error) {
		p, err := sarama.NewAsyncProducer(e.brokers, configure(d))
		if err != nil {
			return nil, nil, err
		}
		ended := make(chan struct{})
		go dispatchOutcomes(p, ended)
		body := payload()
		return func(_ context.Context, _, n int) error {
				b := newPendingBatch(n)
				for i := range n {
					p.Input() <- saramaRecord(topic, body, keyed, i, b)
				}
				return b.wait()
			}, func() error {
				p.AsyncClose()
				<-ended
				return nil
			}, nil
	}
}

func saramaRecord(topic string, body []byte, keyed bool, i int, b *pendingBatch) *sarama.ProducerMessage {
	m := &sarama.ProducerMessage{Topic: topic, Value: sarama.ByteEncoder(body), Metadata: b,
		Headers: []sarama.RecordHeader{{Key: []byte("_watermill_message_uuid"), Value: []byte(uuid)}}}
	if keyed {
		m.Key = sarama.StringEncoder(keys[i%len(keys)])
	}
	return m
}

// pendingBatch waits for the outcomes of the messages that a caller has sent to an AsyncProducer.
type pendingBatch struct {
	pending atomic.Int64
	done    chan error // the first error, or nil after the last outcome
}

func newPendingBatch(n int) *pendingBatch {
	b := &pendingBatch{done: make(chan error, 1)}
	b.pending.Store(int64(n))
	return b
}

func (b *pendingBatch) complete(err error) {
	if last := b.pending.Add(-1) == 0; err == nil && !last {
		return
	}
	select {
	case b.done <- err:
	default: // it has an error already
	}
}

func (b *pendingBatch) wait() error { return <-b.done }

// dispatchOutcomes passes each outcome to its batch until the producer is closed.
func dispatchOutcomes(p sarama.AsyncProducer, ended chan<- struct{}) {
	defer close(ended)
	failures := make(chan struct{})
	go func() {
		defer close(failures)
		for e := range p.Errors() {
			e.Msg.Metadata.(*pendingBatch).complete(e.Err)
		}
	}()
	for m := range p.Successes() {
		m.Metadata.(*pendingBatch).complete(nil)
	}
	<-failures
}
