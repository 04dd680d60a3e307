package kafka

import (
	"context"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/IBM/sarama"

	"github.com/trunkline/trunkline/bus/driver"
)

// groupSession is one membership in a consumer group, across rebalances and outages.
type groupSession struct {
	*events
	t      *Transport
	client lazyClient
}

func newGroupSession(t *Transport, s driver.Subscription) *groupSession {
	g := &groupSession{events: newEvents(t, s), t: t}
	g.client.make = func() (*client, error) {
		return t.newClientWith(func(c *sarama.Config) {
			c.ChannelBufferSize = min(s.MaxFetch, 256)
			c.Metadata.Retry.Max = 3 // of heartbeats too: a member outlives a hiccup of its coordinator
			c.Metadata.Retry.Backoff = 100 * time.Millisecond
		})
	}
	return g
}

func (g *groupSession) reset() { g.client.reset() }

// Close implements driver.Session.
func (g *groupSession) Close(ctx context.Context) error {
	g.begin()
	return g.waitDone(ctx, g.client.cut)
}

func (g *groupSession) run() {
	defer close(g.done)
	defer g.client.close()
	defer g.stop()
	var group sarama.ConsumerGroup
	drained := make(chan struct{})
	close(drained)
	defer func() {
		if group != nil {
			_ = group.Close() // leaves the group; without an answer the session time-out does
		}
		<-drained
	}()
	wait := 100 * time.Millisecond
	for g.ctx.Err() == nil {
		if err := g.t.monitor.ready(g.ctx, "subscribe", g.sub.Topic); err != nil {
			if refused(err) {
				g.lose(err)
				sleep(g.ctx, refusedBackoff)
			}
			continue
		}
		c, err := g.client.get()
		if err == nil && group == nil {
			group, drained, err = g.join(c)
		}
		h, began := &groupHandler{session: g}, time.Now()
		missing := false
		if err == nil {
			err = lookup(g.ctx, c, g.sub.Topic)
			missing = codeOf(err) == driver.NotFound
		}
		if err == nil {
			err = group.Consume(g.ctx, []string{g.sub.Topic}, h)
		}
		h.abandon(err)
		if g.ctx.Err() != nil {
			return
		}
		if err == nil {
			wait = 100 * time.Millisecond
			if time.Since(began) < wait { // so soon it is no rebalance but a claim that ends at once
				sleep(g.ctx, wait)
			}
			continue // a rebalance: join again at once
		}
		g.t.opts.logger.Warn("consumer group session failed", "topic", g.sub.Topic, "group", g.sub.Group, "error", err)
		if missing || codeOf(err) == driver.OutOfRange || codeOf(err) == driver.InvalidArgument {
			g.fail(fail("subscribe", g.sub.Topic, err))
			return
		}
		g.lose(fail("subscribe", g.sub.Topic, g.t.opts.explain(err)))
		switch {
		case refused(err):
			wait = refusedBackoff
		case h.set:
			wait = 100 * time.Millisecond
		}
		sleep(g.ctx, jitter(wait))
		wait = min(wait*2, returnBackoff)
	}
}

// join makes the consumer group, and drains its errors until it is closed.
func (g *groupSession) join(c *client) (sarama.ConsumerGroup, chan struct{}, error) {
	drained := make(chan struct{})
	group, err := sarama.NewConsumerGroupFromClient(g.sub.Group, c)
	if err != nil {
		close(drained)
		return nil, drained, err
	}
	go func() {
		defer close(drained)
		for err := range group.Errors() {
			g.t.opts.logger.Debug("consumer group", "topic", g.sub.Topic, "group", g.sub.Group, "error", err)
		}
	}()
	return group, drained, nil
}

// groupHandler follows one session of sarama's, from Setup to Cleanup.
type groupHandler struct {
	session *groupSession
	set     bool // Setup succeeded

	mu     sync.Mutex
	claims map[int32]*claim
}

// Setup finds where each claim begins, tells sarama, and only then the bus.
func (h *groupHandler) Setup(s sarama.ConsumerGroupSession) error {
	g := h.session
	partitions := s.Claims()[g.sub.Topic]
	at, err := g.positions(s, partitions)
	if err != nil {
		return err
	}
	who := member{s.MemberID(), s.GenerationID()}
	claims := make([]*claim, 0, len(partitions))
	h.mu.Lock()
	h.claims = make(map[int32]*claim, len(partitions))
	for _, p := range partitions {
		c := newClaim(g.sub, &g.t.wire, p, at[p])
		c.store = func(ctx context.Context, c *claim, next int64, metadata string) error {
			return g.commit(ctx, c, who, next, metadata)
		}
		h.claims[p] = c
		claims = append(claims, c)
	}
	h.set = true
	h.mu.Unlock()
	g.assign(claims)
	return nil
}

// positions resolves the start of every claim: the committed position, else what the
// subscription says, which is committed in turn, so that it holds for whoever comes next.
func (g *groupSession) positions(s sarama.ConsumerGroupSession, partitions []int32) (map[int32]int64, error) {
	ctx, topic := s.Context(), g.sub.Topic
	c, err := g.t.meta.get()
	if err != nil {
		return nil, err
	}
	at, err := committedOffsets(ctx, c, g.sub.Group, topic, partitions)
	if err != nil {
		return nil, err
	}
	held, err := spans(c, topic, partitions)
	if err != nil {
		return nil, err
	}
	var fresh []int32
	for _, p := range partitions {
		next, ok := at[p]
		if !ok {
			fresh = append(fresh, p)
			continue
		}
		if next < held[p].oldest || next > held[p].newest {
			g.t.opts.logger.Warn("the committed position is not in the log, going on at the oldest record",
				"topic", topic, "group", g.sub.Group, "partition", p, "committed", next,
				"oldest", held[p].oldest, "newest", held[p].newest)
			at[p] = held[p].oldest
			s.ResetOffset(topic, p, at[p], "")
			s.MarkOffset(topic, p, at[p], "")
		}
	}
	started, err := resolve(c, topic, fresh, g.sub.Start, held)
	if err != nil {
		return nil, err
	}
	if g.sub.Start.Kind != driver.StartOldest {
		who := member{s.MemberID(), s.GenerationID()}
		if err := commitOffsets(ctx, c, g.sub.Group, topic, who, started, ""); err != nil {
			return nil, err
		}
	}
	for p, next := range started {
		s.MarkOffset(topic, p, next, "") // sarama begins the claim there; it never commits it
		at[p] = next
	}
	return at, nil
}

// ConsumeClaim feeds a claim until the session ends, then waits for its release:
// returning lets sarama rejoin, and the broker give the partition to another member.
func (h *groupHandler) ConsumeClaim(s sarama.ConsumerGroupSession, sc sarama.ConsumerGroupClaim) error {
	h.mu.Lock()
	c := h.claims[sc.Partition()]
	h.mu.Unlock()
	if c == nil {
		return nil
	}
	src := c.attach(sc.Messages())
	select {
	case <-s.Context().Done():
	case <-src.dry:
	}
	h.revoke(c, context.Cause(s.Context()))
	return nil
}

// revoke ends a claim and waits until it is released, for as long as the protocol allows.
func (h *groupHandler) revoke(c *claim, cause error) {
	g := h.session
	defer c.finish()
	if g.ctx.Err() != nil {
		g.endClaim(c, g.endCause())
	} else {
		g.endClaim(c, revoked(g.sub.Topic, cause))
	}
	timer := time.NewTimer(g.t.opts.times.Rebalance)
	defer timer.Stop()
	select {
	case <-c.released:
	case <-g.ctx.Done(): // on Close every claim is released already, or not waited for
	case <-timer.C:
		g.t.opts.logger.Warn("a revoked partition was not released in time", "topic", g.sub.Topic, "group", g.sub.Group, "partition", c.id)
	}
}

// Cleanup ends the claims that sarama never consumed, and tells that the assignment is gone.
func (h *groupHandler) Cleanup(s sarama.ConsumerGroupSession) error {
	cause := context.Cause(s.Context())
	h.end(cause)
	h.session.lose(revoked(h.session.sub.Topic, cause))
	return nil
}

// abandon is Cleanup for a session that sarama dropped without calling it.
func (h *groupHandler) abandon(err error) { h.end(err) }

func (h *groupHandler) end(cause error) {
	h.mu.Lock()
	claims := slices.Collect(maps.Values(h.claims))
	h.claims = nil
	h.mu.Unlock()
	var wg sync.WaitGroup
	for _, c := range claims {
		if c.granted() {
			wg.Go(func() { h.revoke(c, cause) })
		}
	}
	wg.Wait()
}

// commit makes next the group's position for a claim. It goes over a connection that no
// long poll blocks, in the name of the member, so a broker's refusal is its error.
func (g *groupSession) commit(ctx context.Context, c *claim, who member, next int64, metadata string) error {
	if !c.granted() {
		return c.uncommitted()
	}
	cl, err := g.t.meta.get()
	if err != nil {
		return err
	}
	err = g.t.await(ctx, func() error {
		c.commits.Lock()
		defer c.commits.Unlock()
		if !c.granted() {
			return c.uncommitted()
		}
		if next <= c.committed {
			return nil
		}
		err := commitOffsets(ctx, cl, g.sub.Group, g.sub.Topic, who, map[int32]int64{c.id: next}, metadata)
		if err == nil {
			c.committed = next
		}
		return err
	})
	if err == nil {
		return nil
	}
	return fail("commit", g.sub.Topic, err)
}
