package bustest

import (
	"fmt"
	"slices"
	"strings"
	"testing/synctest"
	"time"

	"github.com/trunkline/trunkline/bus/driver"
)

// Settle waits until all is quiet: every subscription on the kit's buses is assigned, and
// has acknowledged everything that is in the log, which the recorder knows. Then nothing
// comes any more, unless somebody else publishes: a program's own goroutines and timers are
// not seen. When it does not get quiet in time, because a handler does not return, or a
// message fails again and again, the test fails, and says what is open. While a client is
// cut off from its broker its subscriptions don't count.
func (k *Kit) Settle() {
	k.t.Helper()
	w := k.wait()
	defer w.end()
	var before []state
	for {
		if k.bubble {
			synctest.Wait()
		}
		// Quiet twice in the same state is quiet: whatever moves in between changes an end
		// or a position.
		now, open := k.look()
		if len(open) == 0 && before != nil && slices.Equal(before, now) {
			return
		}
		before = nil
		pause := pollEvery
		if len(open) == 0 {
			before, pause = now, 0
		}
		t := time.NewTimer(pause)
		select {
		case <-t.C:
		case <-w.ctx.Done():
			t.Stop()
			var b strings.Builder
			for _, o := range last(&b, open) {
				fmt.Fprintf(&b, "  %s\n", o)
			}
			k.troubles(&b, func(Delivery) bool { return false })
			k.t.Fatalf("bustest: it is not quiet %s: these are open:\n%s", w.bound(), strings.TrimSuffix(b.String(), "\n"))
		}
	}
}

// state is where one claim stands; committed is -1 while nothing is.
type state struct {
	claim                *claim
	next, end, committed int64
}

// look returns where every claim stands, and what is open.
func (k *Kit) look() (all []state, open []string) {
	k.mu.Lock()
	clients := slices.Clone(k.clients)
	k.mu.Unlock()
	all = []state{}
	held := map[standing]int{} // partitions, of a group on a topic
	for _, c := range clients {
		states, unassigned := c.faults.look(held)
		all = append(all, states...)
		open = append(open, unassigned...)
	}
	for _, s := range all {
		switch {
		case s.open():
			open = append(open, s.String())
		case !k.rec.knows(&s):
			open = append(open, fmt.Sprintf("that %s[%d] is committed up to %d is not recorded yet", s.claim.s.sub.Topic, s.claim.ID(), s.committed))
		}
	}
	for g, n := range held {
		total := k.partitionsOf(g.topic)
		if n < total {
			open = append(open, fmt.Sprintf("%d of the %d partitions of %q are on their way to a member of group %q", total-n, total, g.topic, g.group))
		}
	}
	slices.Sort(open)
	return all, open
}

func (k *Kit) partitionsOf(topic string) int {
	for n := int32(0); ; n++ {
		if _, _, err := k.log.Offsets(topic, n); err != nil {
			return int(n)
		}
	}
}

func (s state) open() bool {
	return s.next < s.end || s.next > s.claim.start && s.committed < s.next
}

func (s state) String() string {
	sub := &s.claim.s.sub
	from := max(s.committed, s.claim.start)
	of := "a subscription"
	if sub.Group != "" {
		of = "group " + quote(sub.Group)
	}
	return fmt.Sprintf("%s has %d to acknowledge, from %s[%d]@%d on", of, s.end-from, sub.Topic, s.claim.ID(), from)
}

// look returns where the claims stand, counts in held those of groups, and says which
// subscriptions have no assignment.
func (f *Faults) look(held map[standing]int) (all []state, unassigned []string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.away != nil || f.observer.inner.State == driver.Disconnected || f.closing.Err() != nil {
		return nil, nil
	}
	for _, s := range f.sessions {
		if s.closed {
			continue
		}
		if !s.assigned {
			unassigned = append(unassigned, fmt.Sprintf("the subscription to %q is not assigned", s.sub.Topic))
			continue
		}
		if s.sub.Group != "" {
			held[standing{group: s.sub.Group, topic: s.sub.Topic}] += len(s.claims)
		}
		for _, c := range s.claims {
			all = append(all, c.state())
		}
	}
	return all, unassigned
}

func (c *claim) state() state {
	st := state{claim: c, committed: -1}
	_, st.end, _ = c.inner.(driver.Extent).Extent() // memory's claims have it
	c.mu.Lock()
	defer c.mu.Unlock()
	st.next, st.committed = c.next, c.committed
	return st
}
