package kafka

import (
	"context"
	"errors"
	"maps"
	"time"

	"github.com/IBM/sarama"

	"github.com/trunkline/trunkline/bus/driver"
)

// firstOffsets returns the offset at which each claim begins: the committed offset, or else
// the start position of the subscription. It commits a start that is not the oldest record,
// so that the next member of the group begins there too. committed reports whether it did. A
// partition that was added after the first assignment begins at its oldest record.
func (g *groupSession) firstOffsets(s sarama.ConsumerGroupSession, partitions []int32) (at map[int32]int64, committed bool, err error) {
	ctx, topic := s.Context(), g.sub.Topic
	c, err := g.t.meta.get()
	if err != nil {
		return nil, false, err
	}
	if err := g.countInitialPartitions(c, partitions); err != nil {
		return nil, false, err
	}
	at, err = committedOffsets(ctx, c, g.sub.Group, topic, partitions)
	if err != nil {
		return nil, false, err
	}
	ranges, err := logRanges(c, topic, partitions)
	if err != nil {
		return nil, false, err
	}
	var uncommitted, added []int32
	for _, p := range partitions {
		next, ok := at[p]
		switch {
		case !ok && p >= g.initialPartitions.Load():
			added = append(added, p)
		case !ok:
			uncommitted = append(uncommitted, p)
		case next < ranges[p].oldest || next > ranges[p].newest:
			g.t.opts.logger.Warn("the log does not contain the committed offset: continuing at the oldest record",
				"topic", topic, "group", g.sub.Group, "partition", p, "committed", next,
				"oldest", ranges[p].oldest, "newest", ranges[p].newest)
			at[p] = ranges[p].oldest
			s.ResetOffset(topic, p, at[p], "")
		}
	}
	started, err := resolveStart(c, topic, uncommitted, g.sub.Start, ranges)
	if err != nil {
		return nil, false, err
	}
	if committed = len(started) > 0 && g.sub.Start.Kind != driver.StartOldest; committed {
		if err := commitOffsets(ctx, c, g.sub.Group, topic, g.member(s), started, ""); err != nil {
			return nil, false, err
		}
	}
	maps.Copy(at, started)
	for _, p := range added {
		at[p] = ranges[p].oldest
	}
	return at, committed, nil
}

// countInitialPartitions stores the number of partitions at the first assignment.
func (g *groupSession) countInitialPartitions(c *client, assigned []int32) error {
	if g.initialPartitions.Load() > 0 {
		return nil
	}
	if err := c.RefreshMetadata(g.sub.Topic); err != nil {
		return err
	}
	partitions, err := c.Partitions(g.sub.Topic)
	if err != nil {
		return err
	}
	n := int32(len(partitions))
	for _, p := range assigned {
		n = max(n, p+1)
	}
	g.initialPartitions.Store(n)
	return nil
}

// member returns the identity for commits. The generation changes at each rebalance.
func (g *groupSession) member(s sarama.ConsumerGroupSession) groupMember {
	return groupMember{id: s.MemberID(), generation: s.GenerationID(), instanceID: g.instanceID}
}

// commit makes next the committed offset of a claim's partition, and returns the broker's
// error. It uses a connection without long polls. It never moves the committed offset back.
// While a cooperative session changes its generation, commit waits for the new one.
func (g *groupSession) commit(ctx context.Context, c *claim, s sarama.ConsumerGroupSession, next int64, metadata string) error {
	if !c.commitsAllowed() {
		return c.commitsEndedError()
	}
	cl, err := g.t.meta.get()
	if err != nil {
		return err
	}
	err = g.t.await(ctx, func() error {
		c.committing.Lock()
		defer c.committing.Unlock()
		for {
			if !c.commitsAllowed() {
				return c.commitsEndedError()
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
