package memory

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/trunkline/trunkline/bus/driver"
)

// group is a consumer group on one topic. Guarded by Log.mu.
//
// A partition has a target, the member that should own it, and an owner, the claim that
// has it now. They differ while a claim is revoked: the owner can commit until it is
// released. Only then does assign give the partition to the target.
type group struct {
	name    string
	topic   *topic
	members []*session // in the order in which they joined
	// The following slices are indexed by partition.
	target   []*session
	owner    []*claim
	progress []*progress
}

// addPartitions adds the partitions that the group does not have yet. all contains every
// partition of the topic.
func (g *group) addPartitions(all []*partition) {
	for _, p := range all[len(g.progress):] {
		pr := &progress{}
		g.progress = append(g.progress, pr)
		g.target = append(g.target, nil)
		g.owner = append(g.owner, nil)
		p.mu.Lock()
		p.progress = append(p.progress, pr)
		pr.next = p.base
		if len(g.members) > 0 {
			// The group has members, so it must not miss a record of a new partition.
			pr.committed = true
			p.retain(pr, p.base)
		}
		p.mu.Unlock()
	}
}

func (g *group) join(s *session) {
	g.members = append(g.members, s)
	if len(g.members) == 1 {
		for i, p := range g.partitions() {
			p.mu.Lock()
			p.retain(g.progress[i], g.progress[i].next)
			p.mu.Unlock()
		}
	}
	g.rebalance()
}

// remove removes s, whose claims have ended. It does not rebalance.
func (g *group) remove(s *session) {
	g.members = slices.DeleteFunc(g.members, func(m *session) bool { return m == s })
	for i := range g.owner {
		if g.owner[i] != nil && g.owner[i].session == s {
			g.owner[i] = nil
		}
		if g.target[i] == s {
			g.target[i] = nil
		}
	}
	if len(g.members) > 0 {
		return
	}
	for i, p := range g.partitions() {
		p.mu.Lock()
		g.progress[i].connected = false
		publisher := p.nextPublisher()
		p.mu.Unlock()
		publisher.wake()
	}
}

func (g *group) partitions() []*partition { return g.topic.all()[:len(g.progress)] }

// rebalance computes new targets, and starts to move partitions to them.
func (g *group) rebalance() {
	g.computeTargets()
	g.applyTargets()
}

// rotate revokes every claim, and makes the next member the target of each partition.
func (g *group) rotate() {
	g.computeTargets()
	for i, s := range g.target {
		if s == nil {
			continue
		}
		g.target[i] = g.members[(slices.Index(g.members, s)+1)%len(g.members)]
		if g.owner[i] != nil {
			g.revoke(i, "the group was rebalanced")
		}
	}
	g.applyTargets()
}

// computeTargets shares the partitions evenly. Members keep what they have, up to their
// share. If the shares differ by one, the members with the most partitions get the larger
// ones.
func (g *group) computeTargets() {
	if len(g.members) == 0 {
		return
	}
	count := make(map[*session]int, len(g.members))
	for _, s := range g.target {
		if s != nil {
			count[s]++
		}
	}
	byCount := slices.Clone(g.members)
	slices.SortStableFunc(byCount, func(a, b *session) int { return cmp.Compare(count[b], count[a]) })
	quota := make(map[*session]int, len(g.members))
	each, remainder := len(g.target)/len(g.members), len(g.target)%len(g.members)
	for i, s := range byCount {
		quota[s] = each
		if i < remainder {
			quota[s]++
		}
	}
	var unassigned []int
	for i, s := range g.target {
		if s != nil && quota[s] > 0 {
			quota[s]--
			continue
		}
		g.target[i] = nil
		unassigned = append(unassigned, i)
	}
	for _, s := range g.members {
		n := min(quota[s], len(unassigned))
		for _, i := range unassigned[:n] {
			g.target[i] = s
		}
		unassigned = unassigned[n:]
	}
}

// applyTargets revokes the claims that must move, and assigns the free partitions.
func (g *group) applyTargets() {
	for i, o := range g.owner {
		if o != nil && o.session != g.target[i] {
			g.revoke(i, "it was assigned to another member")
		}
	}
	failed := map[*session]error{}
	for i := range g.owner {
		if err := g.assign(i); err != nil {
			failed[g.target[i]] = err
		}
	}
	for s, err := range failed {
		s.end(err)
	}
}

// revoke takes partition i from its owner. The owner can commit until it releases the
// claim, or the revoke timeout has passed.
func (g *group) revoke(i int, reason string) {
	c := g.owner[i]
	switch {
	case c.released:
		g.owner[i] = nil
	case c.revoked:
	default:
		c.revoked = true
		c.end(newError(driver.CodeRevoked, "consume", g.topic.name, fmt.Sprintf("partition %d of group %q: %s", i, g.name, reason), nil), true)
		c.session.scheduleRelease(c)
	}
}

// scheduleRelease releases an ended claim after the revoke timeout, or at once if Next has
// not announced it.
func (s *session) scheduleRelease(c *claim) {
	if !c.announced {
		s.release(c)
		return
	}
	c.timer = time.AfterFunc(s.log.revokeTimeout, c.Release)
}

// assign gives partition i to its target, if the partition is free.
func (g *group) assign(i int) error {
	s := g.target[i]
	if s == nil {
		return nil
	}
	// A session that released a claim on its own does not get the partition again.
	if o := g.owner[i]; o != nil && (!o.released || o.session == s) {
		return nil
	}
	// The session still runs handlers of an earlier claim, which ended with an outage.
	if s.claims[int32(i)] != nil {
		return nil
	}
	p, pr := g.topic.all()[i], g.progress[i]
	p.mu.Lock()
	next := pr.next
	if !pr.committed {
		var err error
		if next, err = p.resolve(s.sub.Start); err != nil {
			p.mu.Unlock()
			return err
		}
		pr.committed = s.sub.Start.Kind == driver.StartNewest
	}
	p.retain(pr, next)
	c := newClaim(s, p, pr, pr.next)
	p.mu.Unlock()
	g.owner[i] = c
	s.add(c)
	return nil
}
