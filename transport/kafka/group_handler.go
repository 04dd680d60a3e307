package kafka

import (
	"context"
	"errors"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/IBM/sarama"

	"github.com/trunkline/trunkline/bus/driver"
)

// groupHandler follows one session of sarama's, from Setup to Cleanup. An eager session
// has its claims from Setup and ends with any rebalance. A cooperative one goes on:
// claims come with ConsumeClaim, and go one by one.
type groupHandler struct {
	session *groupSession
	set     bool // Setup succeeded; for when Consume has returned

	mu     sync.Mutex
	claims map[int32]*claim // those that are consumed, or soon will be
	failed error
}

// Setup finds where each claim begins, tells sarama, and only then the bus.
func (h *groupHandler) Setup(s sarama.ConsumerGroupSession) error {
	g := h.session
	claims, _, err := h.begin(s, s.Claims()[g.sub.Topic])
	if err != nil {
		return err
	}
	for _, c := range claims {
		s.MarkOffset(g.sub.Topic, c.id, c.position(), "") // sarama begins there; it never commits it
	}
	h.set = true
	g.assign(claims)
	return nil
}

// begin makes the claims of partitions, each at its start. moved says that a start was
// committed.
func (h *groupHandler) begin(s sarama.ConsumerGroupSession, partitions []int32) (made []*claim, moved bool, err error) {
	g := h.session
	at, moved, err := g.positions(s, partitions)
	if err != nil {
		return nil, false, err
	}
	claims := make([]*claim, 0, len(partitions))
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.claims == nil {
		h.claims = make(map[int32]*claim, len(partitions))
	}
	for _, p := range partitions {
		c := newClaim(g.sub, &g.t.wire, p, at[p])
		c.store = func(ctx context.Context, c *claim, next int64, metadata string) error {
			return g.commit(ctx, c, s, next, metadata)
		}
		h.claims[p] = c
		claims = append(claims, c)
	}
	return claims, moved, nil
}

// positions resolves the start of every claim: the committed position, else what the
// subscription says, which is committed in turn, so that it holds for whoever comes
// next. A partition that was added since the first assignment is read from its start.
func (g *groupSession) positions(s sarama.ConsumerGroupSession, partitions []int32) (at map[int32]int64, moved bool, err error) {
	ctx, topic := s.Context(), g.sub.Topic
	c, err := g.t.meta.get()
	if err != nil {
		return nil, false, err
	}
	if err := g.count(c, partitions); err != nil {
		return nil, false, err
	}
	at, err = committedOffsets(ctx, c, g.sub.Group, topic, partitions)
	if err != nil {
		return nil, false, err
	}
	held, err := spans(c, topic, partitions)
	if err != nil {
		return nil, false, err
	}
	var fresh, added []int32
	for _, p := range partitions {
		next, ok := at[p]
		switch {
		case !ok && p >= g.known.Load():
			added = append(added, p)
		case !ok:
			fresh = append(fresh, p)
		case next < held[p].oldest || next > held[p].newest:
			g.t.opts.logger.Warn("the committed position is not in the log, going on at the oldest record",
				"topic", topic, "group", g.sub.Group, "partition", p, "committed", next,
				"oldest", held[p].oldest, "newest", held[p].newest)
			at[p] = held[p].oldest
			s.ResetOffset(topic, p, at[p], "")
		}
	}
	started, err := resolve(c, topic, fresh, g.sub.Start, held)
	if err != nil {
		return nil, false, err
	}
	if moved = len(started) > 0 && g.sub.Start.Kind != driver.StartOldest; moved {
		if err := commitOffsets(ctx, c, g.sub.Group, topic, g.member(s), started, ""); err != nil {
			return nil, false, err
		}
	}
	maps.Copy(at, started)
	for _, p := range added {
		at[p] = held[p].oldest
	}
	return at, moved, nil
}

// count notes, at the first assignment, how many partitions there are.
func (g *groupSession) count(c *client, assigned []int32) error {
	if g.known.Load() > 0 {
		return nil
	}
	if err := c.RefreshMetadata(g.sub.Topic); err != nil {
		return err
	}
	there, err := c.Partitions(g.sub.Topic)
	if err != nil {
		return err
	}
	n := int32(len(there))
	for _, p := range assigned {
		n = max(n, p+1)
	}
	g.known.Store(n)
	return nil
}

// ConsumeClaim feeds a claim until it is revoked or the session ends, then waits for its
// release: returning lets sarama join again, and the broker give the partition to
// another member.
func (h *groupHandler) ConsumeClaim(s sarama.ConsumerGroupSession, sc sarama.ConsumerGroupClaim) error {
	c, err := h.claim(s, sc)
	if err != nil {
		h.fail(err)
		return err
	}
	if c == nil {
		return nil // the next session begins where we want it
	}
	src := c.attach(sc.Messages(), sc.HighWaterMarkOffset)
	select {
	case <-s.Context().Done():
	case <-src.dry:
	case <-c.ctx.Done():
	}
	h.revoke(c, context.Cause(s.Context()))
	if s.Context().Err() == nil {
		// Sarama has yet to take the partition back. To return before is to end the session.
		for range sc.Messages() {
		}
	}
	return nil
}

// claim returns the claim that Setup made, or makes that of a partition which came
// later; nil when sarama reads that from a place from which it would miss something.
func (h *groupHandler) claim(s sarama.ConsumerGroupSession, sc sarama.ConsumerGroupClaim) (*claim, error) {
	h.mu.Lock()
	c := h.claims[sc.Partition()]
	h.mu.Unlock()
	if c != nil {
		return c, nil
	}
	added, moved, err := h.begin(s, []int32{sc.Partition()})
	if err != nil {
		return nil, err
	}
	c = added[0]
	// Sarama has begun already, at the committed position or at the oldest record. It
	// must not be past our start; and from a start that was committed just now it would
	// have a whole log to read that nobody wants.
	if moved || sc.InitialOffset() > c.position() {
		h.drop(c)
		c.finish()
		return nil, nil
	}
	h.session.assign(added)
	return c, nil
}

// keep ends the claims of partitions that are not in the assignment any more.
func (h *groupHandler) keep(partitions []int32) {
	h.mu.Lock()
	var gone []*claim
	for p, c := range h.claims {
		if !slices.Contains(partitions, p) {
			gone = append(gone, c)
		}
	}
	h.mu.Unlock()
	for _, c := range gone {
		h.session.endClaim(c, revoked(h.session.sub.Topic, nil))
	}
}

func (h *groupHandler) drop(c *claim) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.claims[c.id] == c {
		delete(h.claims, c.id)
	}
}

// revoke ends a claim and waits until it is released, for as long as the protocol allows.
func (h *groupHandler) revoke(c *claim, cause error) {
	g := h.session
	defer h.drop(c)
	defer c.finish()
	if g.ctx.Err() != nil {
		g.endClaim(c, g.endCause())
	} else {
		g.endClaim(c, revoked(g.sub.Topic, cause))
	}
	timer := time.NewTimer(g.t.opts.times.Rebalance * 9 / 10) // sarama ends the session after all of it
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

// end ends all claims that are left: sarama drops a session without Cleanup too.
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

func (h *groupHandler) fail(err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.failed == nil {
		h.failed = err
	}
}

// failure is why a claim could not begin, nil when all could.
func (h *groupHandler) failure() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.failed
}

// member is who commits now: the generation is another after each rebalance.
func (g *groupSession) member(s sarama.ConsumerGroupSession) member {
	return member{id: s.MemberID(), generation: s.GenerationID(), instance: g.instance}
}

// commit makes next the group's position for a claim. It goes over a connection that no
// long poll blocks, in the name of the member, so a broker's refusal is its error. While
// a cooperative session changes its generation it waits for the new one.
func (g *groupSession) commit(ctx context.Context, c *claim, s sarama.ConsumerGroupSession, next int64, metadata string) error {
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
		for {
			if !c.granted() {
				return c.uncommitted()
			}
			if next <= c.committed {
				return nil
			}
			err := commitOffsets(ctx, cl, g.sub.Group, g.sub.Topic, g.member(s), map[int32]int64{c.id: next}, metadata)
			if err == nil {
				c.committed = next
			}
			changing := errors.Is(err, sarama.ErrIllegalGeneration) || errors.Is(err, sarama.ErrRebalanceInProgress)
			if !changing || s.Context().Err() != nil || ctx.Err() != nil {
				return err
			}
			sleep(ctx, 25*time.Millisecond)
		}
	})
	if err == nil {
		return nil
	}
	return fail("commit", g.sub.Topic, err)
}
