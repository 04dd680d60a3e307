package main

import (
	"context"
	"errors"
	"strconv"
	"sync"

	"github.com/IBM/sarama"
	"github.com/twmb/franz-go/pkg/kgo"
)

// kafkaTopics creates the topics of a mux: requests with as many partitions as ours, replies with one.
func kafkaTopics(ctx context.Context, e *env) (requests, replies string, drop func(), err error) {
	requests, dropRequests, err := e.topic(ctx, "requests", partitions)
	if err != nil {
		return "", "", nil, err
	}
	replies, dropReplies, err := e.topic(ctx, "replies", 1)
	if err != nil {
		dropRequests()
		return "", "", nil, err
	}
	return requests, replies, func() { dropRequests(); dropReplies() }, nil
}

// openSaramaMux is a hand-written mux on sarama. Like ours, it marks a request only after the broker has
// acknowledged the reply.
func openSaramaMux(configure func(*dialer) *sarama.Config) exchange {
	return func(ctx context.Context, e *env) (caller, func() error, error) {
		requests, replies, drop, err := kafkaTopics(ctx, e)
		if err != nil {
			return nil, nil, err
		}
		var closers []func() error
		closeAll := func() error {
			var errs []error
			for i := len(closers) - 1; i >= 0; i-- {
				errs = append(errs, closers[i]())
			}
			drop()
			return errors.Join(errs...)
		}
		fail := func(err error) (caller, func() error, error) { return nil, nil, errors.Join(err, closeAll()) }

		server, err := newSaramaProducer(e, configure, func(m *sarama.ProducerMessage) { m.Metadata.(func())() })
		if err != nil {
			return fail(err)
		}
		closers = append(closers, server.close)
		group, err := sarama.NewConsumerGroup(e.brokers, e.name("group"), configure(&dialer{}))
		if err != nil {
			return fail(err)
		}
		h := &muxServer{producer: server.AsyncProducer, ready: make(chan struct{})}
		closers = append(closers, runGroup(ctx, group, requests, h))

		waiting := newPendings()
		readers, err := sarama.NewConsumer(e.brokers, configure(&dialer{}))
		if err != nil {
			return fail(err)
		}
		closers = append(closers, readers.Close)
		reader, err := readers.ConsumePartition(replies, 0, sarama.OffsetOldest)
		if err != nil {
			return fail(err)
		}
		var reading sync.WaitGroup
		reading.Go(func() {
			for m := range reader.Messages() {
				if id, err := strconv.ParseUint(saramaHeader(m, headerID), 10, 64); err == nil {
					waiting.end(id, m.Value)
				}
			}
		})
		closers = append(closers, func() error { err := reader.Close(); reading.Wait(); return err })
		client, err := newSaramaProducer(e, configure, func(*sarama.ProducerMessage) {})
		if err != nil {
			return fail(err)
		}
		closers = append(closers, client.close)
		select {
		case <-h.ready:
		case <-ctx.Done():
			return fail(ctx.Err())
		}
		return func(ctx context.Context, body []byte) ([]byte, error) {
			return waiting.call(ctx, func(id uint64) error {
				client.Input() <- &sarama.ProducerMessage{Topic: requests, Value: sarama.ByteEncoder(body), Headers: []sarama.RecordHeader{
					{Key: []byte(headerID), Value: strconv.AppendUint(nil, id, 10)},
					{Key: []byte(headerReplyTo), Value: []byte(replies)},
					{Key: []byte(headerDeadline), Value: []byte(deadline())},
				}}
				return nil
			})
		}, closeAll, nil
	}
}

// muxServer replies to the requests of a group's claims.
type muxServer struct {
	producer sarama.AsyncProducer
	ready    chan struct{}
	once     sync.Once
}

func (h *muxServer) Setup(sarama.ConsumerGroupSession) error {
	h.once.Do(func() { close(h.ready) })
	return nil
}

func (h *muxServer) Cleanup(sarama.ConsumerGroupSession) error { return nil }

func (h *muxServer) ConsumeClaim(s sarama.ConsumerGroupSession, claim sarama.ConsumerGroupClaim) error {
	for {
		select {
		case m, ok := <-claim.Messages():
			if !ok {
				return nil
			}
			h.producer.Input() <- &sarama.ProducerMessage{Topic: saramaHeader(m, headerReplyTo), Value: sarama.ByteEncoder(m.Value),
				Headers:  []sarama.RecordHeader{{Key: []byte(headerID), Value: []byte(saramaHeader(m, headerID))}},
				Metadata: func() { s.MarkMessage(m, "") }}
		case <-s.Context().Done():
			return nil
		}
	}
}

func saramaHeader(m *sarama.ConsumerMessage, name string) string {
	for _, h := range m.Headers {
		if string(h.Key) == name {
			return string(h.Value)
		}
	}
	return ""
}

type saramaProducer struct {
	sarama.AsyncProducer
	ended  sync.WaitGroup
	failed error // the last error; read it after ended
}

func newSaramaProducer(e *env, configure func(*dialer) *sarama.Config, succeeded func(*sarama.ProducerMessage)) (*saramaProducer, error) {
	made, err := sarama.NewAsyncProducer(e.brokers, configure(&dialer{}))
	if err != nil {
		return nil, err
	}
	p := &saramaProducer{AsyncProducer: made}
	p.ended.Go(func() {
		for m := range made.Successes() {
			succeeded(m)
		}
	})
	p.ended.Go(func() {
		for e := range made.Errors() {
			p.failed = e
		}
	})
	return p, nil
}

func (p *saramaProducer) close() error {
	p.AsyncClose()
	p.ended.Wait()
	return p.failed
}

// openFranzMux is a hand-written mux on franz-go. It also marks a request after the reply is acknowledged. It
// does not linger, because that would add 10 ms to each call.
func openFranzMux(ctx context.Context, e *env) (caller, func() error, error) {
	requests, replies, drop, err := kafkaTopics(ctx, e)
	if err != nil {
		return nil, nil, err
	}
	assigned := make(chan struct{})
	var once sync.Once
	server, err := franz(e, &dialer{}, kgo.ProducerLinger(0), kgo.ConsumerGroup(e.name("group")), kgo.ConsumeTopics(requests), kgo.AutoCommitMarks(),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
		kgo.OnPartitionsAssigned(func(context.Context, *kgo.Client, map[string][]int32) { once.Do(func() { close(assigned) }) }))
	if err != nil {
		drop()
		return nil, nil, err
	}
	client, err := franz(e, &dialer{}, kgo.ProducerLinger(0), kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{replies: {0: kgo.NewOffset().AtStart()}}))
	if err != nil {
		server.Close()
		drop()
		return nil, nil, err
	}
	polled, cancel := context.WithCancel(ctx)
	waiting := newPendings()
	var polling sync.WaitGroup
	poll := func(c *kgo.Client, each func(*kgo.Record)) {
		for polled.Err() == nil {
			c.PollFetches(polled).EachRecord(each)
		}
	}
	polling.Go(func() {
		poll(server, func(r *kgo.Record) {
			reply := &kgo.Record{Topic: franzHeader(r, headerReplyTo), Value: r.Value,
				Headers: []kgo.RecordHeader{{Key: headerID, Value: []byte(franzHeader(r, headerID))}}}
			server.Produce(ctx, reply, func(_ *kgo.Record, err error) {
				if err == nil {
					server.MarkCommitRecords(r)
				}
			})
		})
	})
	polling.Go(func() {
		poll(client, func(r *kgo.Record) {
			if id, err := strconv.ParseUint(franzHeader(r, headerID), 10, 64); err == nil {
				waiting.end(id, r.Value)
			}
		})
	})
	closeAll := func() error {
		cancel()
		polling.Wait()
		server.CloseAllowingRebalance()
		client.Close()
		drop()
		return nil
	}
	select {
	case <-assigned:
	case <-ctx.Done():
		return nil, nil, errors.Join(ctx.Err(), closeAll())
	}
	return func(ctx context.Context, body []byte) ([]byte, error) {
		return waiting.call(ctx, func(id uint64) error {
			client.Produce(ctx, &kgo.Record{Topic: requests, Value: body, Headers: []kgo.RecordHeader{
				{Key: headerID, Value: strconv.AppendUint(nil, id, 10)},
				{Key: headerReplyTo, Value: []byte(replies)},
				{Key: headerDeadline, Value: []byte(deadline())},
			}}, nil)
			return nil
		})
	}, closeAll, nil
}

func franzHeader(r *kgo.Record, name string) string {
	for _, h := range r.Headers {
		if h.Key == name {
			return string(h.Value)
		}
	}
	return ""
}
