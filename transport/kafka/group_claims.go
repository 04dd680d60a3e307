package kafka

import (
	"context"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/IBM/sarama"
)

// groupClaims holds the claims of one sarama session. It is the ConsumerGroupHandler of that
// session. With an eager strategy the session gets all claims in Setup and ends with any
// rebalance. With a cooperative strategy the session continues, and claims begin and end
// individually.
type groupClaims struct {
	session *groupSession
	setUp   bool // Setup has succeeded; read after Consume has returned

	mu     sync.Mutex
	claims map[int32]*claim // being consumed, or about to be
	failed error
}

// Setup resolves the first offset of each claim and passes it to sarama. Then it reports
// the assignment.
func (h *groupClaims) Setup(s sarama.ConsumerGroupSession) error {
	g := h.session
	claims, _, err := h.create(s, s.Claims()[g.sub.Topic])
	if err != nil {
		return err
	}
	for _, c := range claims {
		s.MarkOffset(g.sub.Topic, c.id, c.nextOffset(), "") // sarama starts there; it never commits it
	}
	h.setUp = true
	g.reportAssigned(claims)
	return nil
}

// create makes the claims of partitions, each at its first offset. committed reports
// whether it had to commit a first offset.
func (h *groupClaims) create(s sarama.ConsumerGroupSession, partitions []int32) (created []*claim, committed bool, err error) {
	g := h.session
	at, committed, err := g.firstOffsets(s, partitions)
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
		c := newClaim(g.sub, &g.t.codec, p, at[p])
		c.store = func(ctx context.Context, c *claim, next int64, metadata string) error {
			return g.commit(ctx, c, s, next, metadata)
		}
		h.claims[p] = c
		claims = append(claims, c)
	}
	return claims, committed, nil
}

// ConsumeClaim feeds a claim until it is revoked or the session ends. Then it waits until
// the claim is released: when ConsumeClaim returns, sarama joins again, and the coordinator
// can assign the partition to another member.
func (h *groupClaims) ConsumeClaim(s sarama.ConsumerGroupSession, sc sarama.ConsumerGroupClaim) error {
	c, err := h.claimFor(s, sc)
	if err != nil {
		h.fail(err)
		return err
	}
	if c == nil {
		return nil // ends sarama's session; the next one starts at the right offset
	}
	src := c.attach(sc.Messages(), sc.HighWaterMarkOffset)
	select {
	case <-s.Context().Done():
	case <-src.closed:
	case <-c.ctx.Done():
	}
	h.revoke(c, context.Cause(s.Context()))
	if s.Context().Err() == nil {
		// The session continues without this claim. sarama has not taken the partition back
		// yet. Returning before it closes the channel would end the session.
		for range sc.Messages() {
		}
	}
	return nil
}

// claimFor returns the claim that Setup made, or makes one for a partition that was
// assigned later. It returns nil if sarama reads that partition from a wrong offset.
func (h *groupClaims) claimFor(s sarama.ConsumerGroupSession, sc sarama.ConsumerGroupClaim) (*claim, error) {
	h.mu.Lock()
	c := h.claims[sc.Partition()]
	h.mu.Unlock()
	if c != nil {
		return c, nil
	}
	added, committed, err := h.create(s, []int32{sc.Partition()})
	if err != nil {
		return nil, err
	}
	c = added[0]
	// sarama has started already, at the committed offset or at the oldest record. It must
	// not have started after the first offset of the claim. If create had to commit the
	// first offset, sarama has started at the oldest record, and would read the whole log
	// up to the first offset.
	if committed || sc.InitialOffset() > c.nextOffset() {
		h.remove(c)
		c.endCommits()
		return nil, nil
	}
	h.session.reportAssigned(added)
	return c, nil
}

// endUnassigned ends the claims of partitions that are not in the assignment.
func (h *groupClaims) endUnassigned(assigned []int32) {
	h.mu.Lock()
	var lost []*claim
	for p, c := range h.claims {
		if !slices.Contains(assigned, p) {
			lost = append(lost, c)
		}
	}
	h.mu.Unlock()
	for _, c := range lost {
		h.session.endClaim(c, revokedError(h.session.sub.Topic, nil))
	}
}

func (h *groupClaims) remove(c *claim) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.claims[c.id] == c {
		delete(h.claims, c.id)
	}
}

// revoke ends a claim and waits until it is released, for at most nine tenths of the
// rebalance time-out.
func (h *groupClaims) revoke(c *claim, cause error) {
	g := h.session
	defer h.remove(c)
	defer c.endCommits()
	if g.ctx.Err() != nil {
		g.endClaim(c, g.endCause())
	} else {
		g.endClaim(c, revokedError(g.sub.Topic, cause))
	}
	timer := time.NewTimer(g.t.opts.times.Rebalance * 9 / 10) // sarama ends the session after the whole time-out
	defer timer.Stop()
	select {
	case <-c.released:
	case <-g.ctx.Done(): // when the session is closed, package bus has released all claims or given up on them
	case <-timer.C:
		g.t.opts.logger.Warn("revoked partition was not released in time: the handlers take longer than the rebalance time-out, and their messages are delivered again",
			"topic", g.sub.Topic, "group", g.sub.Group, "partition", c.id)
	}
}

// Cleanup ends the claims that sarama has not consumed, and reports that the assignment is
// lost.
func (h *groupClaims) Cleanup(s sarama.ConsumerGroupSession) error {
	cause := context.Cause(s.Context())
	h.endAll(cause)
	h.session.reportLost(revokedError(h.session.sub.Topic, cause))
	return nil
}

// endAll ends all remaining claims. sarama can also end a session without Cleanup.
func (h *groupClaims) endAll(cause error) {
	h.mu.Lock()
	claims := slices.Collect(maps.Values(h.claims))
	h.claims = nil
	h.mu.Unlock()
	var wg sync.WaitGroup
	for _, c := range claims {
		if c.commitsAllowed() {
			wg.Go(func() { h.revoke(c, cause) })
		}
	}
	wg.Wait()
}

func (h *groupClaims) fail(err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.failed == nil {
		h.failed = err
	}
}

// failure returns the error of the first claim that could not begin, nil if all could.
func (h *groupClaims) failure() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.failed
}
