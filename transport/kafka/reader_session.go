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

// firstRetryPause is the first pause between attempts of a session. It doubles up to
// maxRetryPause.
const firstRetryPause = 100 * time.Millisecond

// readerSession reads partitions without a group. It has its own client: a broker handles
// the requests of a connection one after the other, so on a shared connection the long poll
// of an idle session would delay all other sessions.
type readerSession struct {
	*sessionEvents
	t        *Transport
	client   lazyClient
	consumer sarama.Consumer
	failing  *repeatedWarning

	readers sync.WaitGroup
	claims  map[int32]*claim // only run uses it
}

func newReaderSession(t *Transport, s driver.Subscription) *readerSession {
	r := &readerSession{sessionEvents: newSessionEvents(t, s), t: t, claims: make(map[int32]*claim)}
	r.failing = &repeatedWarning{logger: t.opts.logger, message: "reading a topic failed, trying again"}
	r.client.make = func() (*client, error) {
		return t.newClientWith(func(c *sarama.Config) { c.ChannelBufferSize = min(s.MaxFetch, 256) })
	}
	return r
}

func (r *readerSession) reset() { r.client.reset() }

// Close implements driver.Session.
func (r *readerSession) Close(ctx context.Context) error {
	r.beginClose()
	r.client.closeNetwork() // there is no group to leave
	return r.waitDone(ctx, func() {})
}

func (r *readerSession) run() {
	defer close(r.done)
	defer func() {
		r.stop()
		for _, c := range r.claims {
			r.endClaim(c, r.endCause())
			c.endCommits()
		}
		r.client.closeNetwork()
		r.readers.Wait()
		r.client.close()
	}()
	var missing missingTopicCounter
	started := false
	pause := firstRetryPause
	for r.ctx.Err() == nil {
		state, changed := r.t.connection.current()
		if state.State != driver.Connected {
			r.reportLost(fail("subscribe", r.sub.Topic, state.Cause))
			select {
			case <-changed:
			case <-r.ctx.Done():
			}
			continue
		}
		added, err := r.newClaims(!started)
		switch {
		case r.ctx.Err() != nil:
			return
		case err != nil && (missing.isMissing(err) || codeOf(err) == driver.CodeOutOfRange || codeOf(err) == driver.CodeInvalidArgument):
			r.fail(fail("subscribe", r.sub.Topic, err))
			return
		case err != nil:
			r.failing.log("topic", r.sub.Topic, "error", err)
			if isRefused(err) {
				r.reportLost(fail("subscribe", r.sub.Topic, r.t.opts.explain(err)))
				pause = refusedPause
			}
			sleep(r.ctx, jitter(pause))
			pause = min(pause*2, maxRetryPause)
			continue
		}
		started, missing, pause = true, 0, firstRetryPause
		for _, c := range added {
			r.claims[c.id] = c
			r.readers.Go(func() { r.read(c) })
		}
		r.reportAssigned(added)
		timer := time.NewTimer(r.t.opts.times.Refresh)
		select {
		case <-changed:
		case <-timer.C:
		case <-r.ctx.Done():
		}
		timer.Stop()
	}
}

// newClaims returns claims for the partitions that have none. The first time they begin at
// the start position of the subscription. Later they begin at the oldest record. A new
// partition can have records before the session detects it, and the subscription must not
// skip them.
func (r *readerSession) newClaims(first bool) ([]*claim, error) {
	c, err := r.client.get()
	if err != nil {
		return nil, err
	}
	if r.consumer == nil {
		if r.consumer, err = sarama.NewConsumerFromClient(c); err != nil {
			return nil, err
		}
	}
	partitions, err := r.unclaimed(c)
	if err != nil || len(partitions) == 0 {
		return nil, err
	}
	start := r.sub.Start
	if !first {
		start = driver.Start{Kind: driver.StartOldest}
	}
	topic := r.sub.Topic
	ranges, err := logRanges(c, topic, partitions)
	if err != nil {
		return nil, err
	}
	at, err := resolveStart(c, topic, partitions, start, ranges)
	if err != nil {
		return nil, err
	}
	added := make([]*claim, 0, len(partitions))
	for _, p := range partitions {
		added = append(added, newClaim(r.sub, &r.t.codec, p, at[p]))
	}
	return added, nil
}

// unclaimed returns the partitions of the subscription that have no claim, sorted.
func (r *readerSession) unclaimed(c *client) ([]int32, error) {
	topic := r.sub.Topic
	if err := c.RefreshMetadata(topic); err != nil {
		return nil, err
	}
	existing, err := c.Partitions(topic)
	if err != nil {
		return nil, err
	}
	selected := existing
	if r.sub.Partitions != nil {
		selected = r.sub.Partitions
		for _, p := range selected {
			if !slices.Contains(existing, p) {
				return nil, failCode(driver.CodeNotFound, "subscribe", topic, fmt.Sprintf("partition %d does not exist", p), nil)
			}
		}
	}
	partitions := slices.DeleteFunc(slices.Clone(selected), func(p int32) bool { return r.claims[p] != nil })
	slices.Sort(partitions)
	return slices.Compact(partitions), nil
}

// read feeds a claim from a partition consumer of sarama. If the consumer ends, read starts
// another at the next offset.
func (r *readerSession) read(c *claim) {
	pause := firstRetryPause
	for r.ctx.Err() == nil {
		pc, err := r.consumer.ConsumePartition(c.topic, c.id, c.nextOffset())
		if err == nil {
			pause = firstRetryPause
			err = r.feed(c, pc)
		}
		if errors.Is(err, sarama.ErrOffsetOutOfRange) {
			r.fail(failCode(driver.CodeOutOfRange, "fetch", c.topic, fmt.Sprintf(
				"the log of partition %d no longer contains offset %d", c.id, c.nextOffset()), err))
			return
		}
		if err != nil && r.ctx.Err() == nil {
			r.failing.log("topic", c.topic, "partition", c.id, "error", err)
		}
		sleep(r.ctx, jitter(pause))
		pause = min(pause*2, maxRetryPause)
	}
}

// feed makes the claim read from pc until pc ends, and returns the last error of pc.
func (r *readerSession) feed(c *claim, pc sarama.PartitionConsumer) error {
	var last error
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for e := range pc.Errors() {
			if e.Err != nil {
				last = e.Err
				r.t.opts.logger.Debug("partition consumer reported an error", "topic", c.topic, "partition", c.id, "error", e.Err)
			}
		}
	}()
	src := c.attach(pc.Messages(), pc.HighWaterMarkOffset)
	select {
	case <-r.ctx.Done():
	case <-src.closed:
	}
	pc.AsyncClose()
	for range pc.Messages() { // drop what Fetch has not taken
	}
	<-ended
	return last
}
