package chaos

// groupCheck checks the events of one group in the order in which they happened.
type groupCheck struct {
	*check
	group string

	handled    map[Place]bool
	contiguous map[int32]int       // how many of the first records of a partition are handled, without a gap
	delivered  map[Message]bool    // at least once
	first      map[string]Message  // the last message of a key that was delivered for the first time
	committed  map[int32]int64     // the highest successful commit
	claims     map[int]*claimState // by Event.Claim
}

// claimState is the state of one claim.
type claimState struct {
	minOffset int64 // the group's committed offset before the claim's first delivery
	keys      map[string]*keyState
}

// keyState has the record of a key that a claim delivered last.
type keyState struct {
	place   Place
	running bool
	handled bool
}

func (c *check) checkGroup(name string) {
	g := &groupCheck{check: c, group: name, handled: make(map[Place]bool), contiguous: make(map[int32]int),
		delivered: make(map[Message]bool), first: make(map[string]Message), committed: make(map[int32]int64),
		claims: make(map[int]*claimState)}
	for _, e := range c.h.snapshot() {
		if e.Group == name {
			g.step(e)
		}
	}
	for _, e := range c.h.Log {
		if !g.handled[e.Place] {
			g.report(Undelivered, name, e.Message, e.Place, "in the log, but never handled")
		}
	}
	for partition, next := range c.h.Committed[name] {
		g.checkCommit(Place{partition, next}, "the committed offset at the end")
	}
}

func (g *groupCheck) step(e Event) {
	switch e.Kind {
	case Started:
		g.start(e)
	case Handled, HandlerFailed:
		if k := g.claim(e).keys[e.Message.Key]; k != nil && k.place == e.Place {
			k.running, k.handled = false, e.Kind == Handled
		}
		if e.Kind == Handled {
			g.handled[e.Place] = true
		}
	case Committed:
		g.checkCommit(e.Place, "a commit")
		g.committed[e.Place.Partition] = max(g.committed[e.Place.Partition], e.Place.Offset)
	case CommitFailed:
		g.checkCommit(e.Place, "a failed commit")
	}
}

func (g *groupCheck) start(e Event) {
	if m, ok := g.at[e.Place]; !ok || m != e.Message {
		g.report(Unexplained, g.group, e.Message, e.Place, "delivered, but not in the log at this place")
		return
	}
	if !g.delivered[e.Message] {
		g.delivered[e.Message] = true
		if before, ok := g.first[e.Message.Key]; ok && before.Number > e.Message.Number {
			g.report(DeliveredOutOfOrder, g.group, e.Message, e.Place, "delivered for the first time after %v", before)
		} else {
			g.first[e.Message.Key] = e.Message
		}
	}
	c := g.claim(e)
	if e.Place.Offset < c.minOffset {
		g.report(Rewound, g.group, e.Message, e.Place, "delivered by a claim that began when the group had committed offset %d", c.minOffset)
	}
	k := c.keys[e.Message.Key]
	switch {
	case k == nil:
		k = &keyState{}
		c.keys[e.Message.Key] = k
	case k.running:
		g.report(Overlapping, g.group, e.Message, e.Place, "started while the handler of %v was running", k.place)
	case e.Place.Offset < k.place.Offset || (k.handled && e.Place == k.place):
		g.report(Overlapping, g.group, e.Message, e.Place, "started by the same claim after %v", k.place)
	case !k.handled && e.Place != k.place:
		g.report(Overlapping, g.group, e.Message, e.Place, "started although %v was not handled", k.place)
	}
	*k = keyState{place: e.Place, running: true}
}

// claim returns the state of the event's claim. A claim begins with its first delivery.
func (g *groupCheck) claim(e Event) *claimState {
	c := g.claims[e.Claim]
	if c == nil {
		c = &claimState{minOffset: g.committed[e.Place.Partition], keys: make(map[string]*keyState)}
		g.claims[e.Claim] = c
	}
	return c
}

// checkCommit checks that every record below the offset has been handled by now.
func (g *groupCheck) checkCommit(next Place, what string) {
	offsets := g.offsets[next.Partition]
	n := g.contiguous[next.Partition]
	for n < len(offsets) && g.handled[Place{next.Partition, offsets[n]}] {
		n++
	}
	g.contiguous[next.Partition] = n
	if n < len(offsets) && offsets[n] < next.Offset {
		missing := Place{next.Partition, offsets[n]}
		g.report(PrematureCommit, g.group, g.at[missing], missing, "not handled yet, but %s is at %d", what, next.Offset)
	}
	if n == len(offsets) && n > 0 && next.Offset > offsets[n-1]+1 {
		g.report(PrematureCommit, g.group, g.at[Place{next.Partition, offsets[n-1]}], Place{next.Partition, offsets[n-1]},
			"the last record of the log, but %s is at %d", what, next.Offset)
	}
}
