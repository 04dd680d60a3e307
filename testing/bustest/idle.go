package bustest

import (
	"fmt"
	"slices"
	"strings"
	"testing/synctest"
	"time"

	"github.com/trunkline/trunkline/bus/driver"
)

// WaitIdle waits until every subscription on the kit's buses is assigned and has acknowledged
// every record in the log, and the recorder has recorded that. After that nothing more happens,
// unless a goroutine or timer of the program publishes: WaitIdle does not track those. At the
// time-out, for example because a handler does not return or a message keeps failing, it fails
// the test and lists what is not acknowledged. It ignores the subscriptions of a client that is
// disconnected from its broker.
func (k *Kit) WaitIdle() {
	k.t.Helper()
	w := k.startWait()
	defer w.cancel()
	var before []claimState
	for {
		if k.bubble {
			synctest.Wait()
		}
		// The kit is idle when two snapshots in a row have no open work and are equal. Anything
		// that happens between them changes an end offset or a committed offset.
		now, open := k.snapshot()
		if len(open) == 0 && before != nil && slices.Equal(before, now) {
			return
		}
		before = nil
		pause := pollInterval
		if len(open) == 0 {
			before, pause = now, 0
		}
		t := time.NewTimer(pause)
		select {
		case <-t.C:
		case <-w.ctx.Done():
			t.Stop()
			var b strings.Builder
			for _, o := range lastShown(&b, open) {
				fmt.Fprintf(&b, "  %s\n", o)
			}
			k.writeFailures(&b, func(Delivery) bool { return false })
			k.t.Fatalf("bustest: the subscriptions are not idle %s:\n%s", w.bound(), strings.TrimSuffix(b.String(), "\n"))
		}
	}
}

// claimState has the offsets of one claim; committed is -1 if it has committed nothing.
type claimState struct {
	claim                *claim
	next, end, committed int64
}

// snapshot returns the state of every claim, and describes the work that is still open.
func (k *Kit) snapshot() (all []claimState, open []string) {
	k.mu.Lock()
	clients := slices.Clone(k.clients)
	k.mu.Unlock()
	all = []claimState{}
	claimed := map[groupOffset]int{} // the number of claimed partitions, by group and topic
	for _, c := range clients {
		states, unassigned := c.faults.claimStates(claimed)
		all = append(all, states...)
		open = append(open, unassigned...)
	}
	for _, s := range all {
		switch {
		case s.open():
			open = append(open, s.String())
		case !k.rec.hasCommit(&s):
			open = append(open, fmt.Sprintf("the commit of %s[%d] up to offset %d is not recorded yet", s.claim.s.sub.Topic, s.claim.ID(), s.committed))
		}
	}
	for g, n := range claimed {
		total := k.partitionsOf(g.topic)
		if n < total {
			open = append(open, fmt.Sprintf("%d of the %d partitions of %q are not assigned to a member of group %q yet", total-n, total, g.topic, g.group))
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

// open reports whether the claim still has records to fetch or to commit.
func (s claimState) open() bool {
	return s.next < s.end || s.next > s.claim.start && s.committed < s.next
}

func (s claimState) String() string {
	sub := &s.claim.s.sub
	from := max(s.committed, s.claim.start)
	subscriber := "a subscription"
	if sub.Group != "" {
		subscriber = "group " + quote(sub.Group)
	}
	return fmt.Sprintf("%s has not acknowledged %d, from %s[%d]@%d on", subscriber, s.end-from, sub.Topic, s.claim.ID(), from)
}

// claimStates returns the state of every claim and describes the subscriptions that have no
// assignment. It adds the claims of groups to claimed.
func (f *Faults) claimStates(claimed map[groupOffset]int) (all []claimState, unassigned []string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.cutCause != nil || f.notifier.inner.State == driver.Disconnected || f.closing.Err() != nil {
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
			claimed[groupOffset{group: s.sub.Group, topic: s.sub.Topic}] += len(s.claims)
		}
		for _, c := range s.claims {
			all = append(all, c.state())
		}
	}
	return all, unassigned
}

func (c *claim) state() claimState {
	st := claimState{claim: c, committed: -1}
	_, st.end, _ = c.inner.(driver.Extent).Extent() // the claims of transport/memory implement it
	c.mu.Lock()
	defer c.mu.Unlock()
	st.next, st.committed = c.next, c.committed
	return st
}
