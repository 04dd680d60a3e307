package kafka

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/IBM/sarama"

	"github.com/trunkline/trunkline/bus/driver"
)

// readerSession reads partitions without a group. It has a client of its own: brokers
// answer the requests of a connection one after the other, so on a shared one the long
// polls of idle sessions would add up.
type readerSession struct {
	*events
	t        *Transport
	client   lazyClient
	consumer sarama.Consumer

	readers sync.WaitGroup
	claims  map[int32]*claim // used by run alone
}

func newReaderSession(t *Transport, s driver.Subscription) *readerSession {
	r := &readerSession{events: newEvents(t, s), t: t, claims: make(map[int32]*claim)}
	r.client.make = func() (*client, error) {
		return t.newClientWith(func(c *sarama.Config) { c.ChannelBufferSize = min(s.MaxFetch, 256) })
	}
	return r
}

func (r *readerSession) reset() { r.client.reset() }

// Close implements driver.Session.
func (r *readerSession) Close(ctx context.Context) error {
	r.begin()
	r.client.cut() // there is nothing to say goodbye to
	return r.waitDone(ctx, func() {})
}

func (r *readerSession) run() {
	defer close(r.done)
	defer func() {
		r.stop()
		for _, c := range r.claims {
			r.endClaim(c, r.endCause())
			c.finish()
		}
		r.client.cut()
		r.readers.Wait()
		r.client.close()
	}()
	var unknown patience
	started := false
	wait := 100 * time.Millisecond
	for r.ctx.Err() == nil {
		state, changed := r.t.monitor.current()
		if state.State != driver.Connected {
			r.lose(fail("subscribe", r.sub.Topic, state.Cause))
			select {
			case <-changed:
			case <-r.ctx.Done():
			}
			continue
		}
		added, err := r.look(!started)
		switch {
		case r.ctx.Err() != nil:
			return
		case err != nil && (unknown.missing(err) || codeOf(err) == driver.CodeOutOfRange || codeOf(err) == driver.CodeInvalidArgument):
			r.fail(fail("subscribe", r.sub.Topic, err))
			return
		case err != nil:
			r.t.opts.logger.Debug("reader session", "topic", r.sub.Topic, "error", err)
			if refused(err) {
				r.lose(fail("subscribe", r.sub.Topic, r.t.opts.explain(err)))
				wait = refusedBackoff
			}
			sleep(r.ctx, jitter(wait))
			wait = min(wait*2, returnBackoff)
			continue
		}
		started, unknown, wait = true, 0, 100*time.Millisecond
		for _, c := range added {
			r.claims[c.id] = c
			r.readers.Go(func() { r.read(c) })
		}
		r.assign(added)
		timer := time.NewTimer(r.t.opts.times.Refresh)
		select {
		case <-changed:
		case <-timer.C:
		case <-r.ctx.Done():
		}
		timer.Stop()
	}
}

// look finds the partitions that are not read yet, and where each begins: the first
// time where the subscription says, later at the oldest record, for what was published
// to a new partition before it was noticed is news as well.
func (r *readerSession) look(first bool) ([]*claim, error) {
	c, err := r.client.get()
	if err != nil {
		return nil, err
	}
	if r.consumer == nil {
		if r.consumer, err = sarama.NewConsumerFromClient(c); err != nil {
			return nil, err
		}
	}
	topic := r.sub.Topic
	if err := c.RefreshMetadata(topic); err != nil {
		return nil, err
	}
	there, err := c.Partitions(topic)
	if err != nil {
		return nil, err
	}
	wanted := there
	if r.sub.Partitions != nil {
		wanted = r.sub.Partitions
		for _, p := range wanted {
			if !slices.Contains(there, p) {
				return nil, failCode(driver.CodeNotFound, "subscribe", topic, fmt.Sprintf("there is no partition %d", p), nil)
			}
		}
	}
	fresh := slices.DeleteFunc(slices.Clone(wanted), func(p int32) bool { return r.claims[p] != nil })
	slices.Sort(fresh)
	fresh = slices.Compact(fresh)
	if len(fresh) == 0 {
		return nil, nil
	}
	start := r.sub.Start
	if !first {
		start = driver.Start{Kind: driver.StartOldest}
	}
	held, err := spans(c, topic, fresh)
	if err != nil {
		return nil, err
	}
	at, err := resolve(c, topic, fresh, start, held)
	if err != nil {
		return nil, err
	}
	added := make([]*claim, 0, len(fresh))
	for _, p := range fresh {
		added = append(added, newClaim(r.sub, &r.t.wire, p, at[p]))
	}
	return added, nil
}

// read keeps a partition consumer of sarama's going for a claim: one that dies is
// followed by another, at the next offset.
func (r *readerSession) read(c *claim) {
	wait := 100 * time.Millisecond
	for r.ctx.Err() == nil {
		pc, err := r.consumer.ConsumePartition(c.topic, c.id, c.position())
		if err == nil {
			wait = 100 * time.Millisecond
			err = r.follow(c, pc)
		}
		if errors.Is(err, sarama.ErrOffsetOutOfRange) {
			r.fail(failCode(driver.CodeOutOfRange, "fetch", c.topic, fmt.Sprintf(
				"offset %d of partition %d is no longer in the log", c.position(), c.id), err))
			return
		}
		if err != nil {
			r.t.opts.logger.Debug("reader session", "topic", c.topic, "partition", c.id, "error", err)
		}
		sleep(r.ctx, jitter(wait))
		wait = min(wait*2, returnBackoff)
	}
}

// follow lets the claim read from pc until that ends, and returns why it did.
func (r *readerSession) follow(c *claim, pc sarama.PartitionConsumer) error {
	var last error
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for e := range pc.Errors() {
			if e.Err != nil {
				last = e.Err
				r.t.opts.logger.Debug("partition consumer", "topic", c.topic, "partition", c.id, "error", e.Err)
			}
		}
	}()
	src := c.attach(pc.Messages(), pc.HighWaterMarkOffset)
	select {
	case <-r.ctx.Done():
	case <-src.dry:
	}
	pc.AsyncClose()
	for range pc.Messages() { // what is left here was never fetched
	}
	<-ended
	return last
}
