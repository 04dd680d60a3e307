package memory

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/trunkline/trunkline/bus/driver"
)

// group is a consumer group's share in one topic. Guarded by Log.mu.
//
// A partition has a target, the member that should have it, and an owner, the
// claim that has it now. They differ while a claim is being revoked: its owner may
// commit until it is released, and only then handOut gives the partition to its
// target.
type group struct {
	name    string
	topic   *topic
	members []*session // in the order they joined
	// By partition.
	target []*session
	owner  []*claim
	marks  []*mark
}

// grow takes in partitions the group does not know yet.
func (g *group) grow(all []*partition) {
	for _, p := range all[len(g.marks):] {
		m := &mark{}
		g.marks = append(g.marks, m)
		g.target = append(g.target, nil)
		g.owner = append(g.owner, nil)
		p.mu.Lock()
		p.marks = append(p.marks, m)
		m.next = p.base
		if len(g.members) > 0 {
			// Members were here before the partition: they miss nothing of it.
			m.committed = true
			p.hold(m, p.base)
		}
		p.mu.Unlock()
	}
}

func (g *group) join(s *session) {
	g.members = append(g.members, s)
	if len(g.members) == 1 {
		for i, p := range g.partitions() {
			p.mu.Lock()
			p.hold(g.marks[i], g.marks[i].next)
			p.mu.Unlock()
		}
	}
	g.rebalance()
}

// remove takes s out of the group, without a rebalance: its claims have ended.
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
		g.marks[i].connected = false
		room := p.nextInQueue()
		p.mu.Unlock()
		room.wake()
	}
}

func (g *group) partitions() []*partition { return g.topic.all()[:len(g.marks)] }

// rebalance shares the partitions anew, moves as few as can be, and sets the moves
// going.
func (g *group) rebalance() {
	g.share()
	g.settle()
}

// rotate revokes every claim and passes each partition to the next member.
func (g *group) rotate() {
	g.share()
	for i, s := range g.target {
		if s == nil {
			continue
		}
		g.target[i] = g.members[(slices.Index(g.members, s)+1)%len(g.members)]
		if g.owner[i] != nil {
			g.revoke(i, "the group was rebalanced")
		}
	}
	g.settle()
}

// share sets the targets: as even as can be, members keep what they have up to
// their share, and those that have most get the odd ones.
func (g *group) share() {
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
	room := make(map[*session]int, len(g.members))
	each, odd := len(g.target)/len(g.members), len(g.target)%len(g.members)
	for i, s := range byCount {
		room[s] = each
		if i < odd {
			room[s]++
		}
	}
	var free []int
	for i, s := range g.target {
		if s != nil && room[s] > 0 {
			room[s]--
			continue
		}
		g.target[i] = nil
		free = append(free, i)
	}
	for _, s := range g.members {
		n := min(room[s], len(free))
		for _, i := range free[:n] {
			g.target[i] = s
		}
		free = free[n:]
	}
}

// settle revokes what is to move and hands out what is free.
func (g *group) settle() {
	for i, o := range g.owner {
		if o != nil && o.session != g.target[i] {
			g.revoke(i, "it went to another member")
		}
	}
	failed := map[*session]error{}
	for i := range g.owner {
		if err := g.handOut(i); err != nil {
			failed[g.target[i]] = err
		}
	}
	for s, err := range failed {
		s.finish(err)
	}
}

// revoke takes partition i from its owner, who has until Release, or the revoke
// timeout, to commit.
func (g *group) revoke(i int, why string) {
	c := g.owner[i]
	switch {
	case c.released:
		g.owner[i] = nil
	case c.revoked:
	default:
		c.revoked = true
		c.end(failure(driver.CodeRevoked, "consume", g.topic.name, fmt.Sprintf("partition %d of group %q: %s", i, g.name, why), nil), true)
		c.session.letGo(c)
	}
}

// letGo makes sure that an ended claim is released some time.
func (s *session) letGo(c *claim) {
	if !c.delivered {
		s.release(c)
		return
	}
	c.timer = time.AfterFunc(s.log.revokeTimeout, c.Release)
}

// handOut gives partition i to its target, if nobody has it.
func (g *group) handOut(i int) error {
	s := g.target[i]
	if s == nil {
		return nil
	}
	// A claim that its session released by itself is not pressed on it again.
	if o := g.owner[i]; o != nil && (!o.released || o.session == s) {
		return nil
	}
	// An earlier claim of the session, lost in an outage, still runs handlers.
	if s.claims[int32(i)] != nil {
		return nil
	}
	p, m := g.topic.all()[i], g.marks[i]
	p.mu.Lock()
	next := m.next
	if !m.committed {
		var err error
		if next, err = p.resolve(s.sub.Start); err != nil {
			p.mu.Unlock()
			return err
		}
		m.committed = s.sub.Start.Kind == driver.StartNewest
	}
	p.hold(m, next)
	c := newClaim(s, p, m, m.next)
	p.mu.Unlock()
	g.owner[i] = c
	s.add(c)
	return nil
}
