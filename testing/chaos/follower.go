package chaos

// follower checks one group's events in the order in which they happened.
type follower struct {
	*check
	group string

	handled    map[Place]bool
	contiguous map[int32]int       // how many records of a partition's log are handled without a gap
	delivered  map[Message]bool    // at least once
	first      map[string]Message  // the latest first delivery of a key
	committed  map[int32]int64     // positions that took
	claims     map[int]*claimState // by Event.Claim
}

// claimState is one claim as far as its events have told.
type claimState struct {
	floor int64 // the group's position before the claim's first delivery
	keys  map[string]*keyState
}

// keyState is the record of a key that a claim delivered last.
type keyState struct {
	place   Place
	running bool
	handled bool
}

func (c *check) group(name string) {
	f := &follower{check: c, group: name, handled: make(map[Place]bool), contiguous: make(map[int32]int),
		delivered: make(map[Message]bool), first: make(map[string]Message), committed: make(map[int32]int64),
		claims: make(map[int]*claimState)}
	for _, e := range c.h.snapshot() {
		if e.Group == name {
			f.follow(e)
		}
	}
	for _, e := range c.h.Log {
		if !f.handled[e.Place] {
			f.violated(Undelivered, name, e.Message, e.Place, "in the log and never handled")
		}
	}
	for partition, next := range c.h.Positions[name] {
		f.commit(Place{partition, next}, "the position at the end")
	}
}

func (f *follower) follow(e Event) {
	switch e.Kind {
	case Begun:
		f.begin(e)
	case Handled, Refused:
		if k := f.claim(e).keys[e.Message.Key]; k != nil && k.place == e.Place {
			k.running, k.handled = false, e.Kind == Handled
		}
		if e.Kind == Handled {
			f.handled[e.Place] = true
		}
	case Committed:
		f.commit(e.Place, "a commit")
		f.committed[e.Place.Partition] = max(f.committed[e.Place.Partition], e.Place.Offset)
	case Uncommitted:
		f.commit(e.Place, "an attempt to commit")
	}
}

func (f *follower) begin(e Event) {
	if m, ok := f.at[e.Place]; !ok || m != e.Message {
		f.violated(Untrue, f.group, e.Message, e.Place, "delivered, and not in the log there")
		return
	}
	if !f.delivered[e.Message] {
		f.delivered[e.Message] = true
		if before, ok := f.first[e.Message.Key]; ok && before.Number > e.Message.Number {
			f.violated(Disordered, f.group, e.Message, e.Place, "delivered for the first time after %v was", before)
		} else {
			f.first[e.Message.Key] = e.Message
		}
	}
	c := f.claim(e)
	if e.Place.Offset < c.floor {
		f.violated(Rewound, f.group, e.Message, e.Place, "delivered by a claim that began when the group was at %d", c.floor)
	}
	k := c.keys[e.Message.Key]
	switch {
	case k == nil:
		k = &keyState{}
		c.keys[e.Message.Key] = k
	case k.running:
		f.violated(Overlapping, f.group, e.Message, e.Place, "begun while the handler of %v was at work", k.place)
	case e.Place.Offset < k.place.Offset || (k.handled && e.Place == k.place):
		f.violated(Overlapping, f.group, e.Message, e.Place, "begun by the same claim after %v", k.place)
	case !k.handled && e.Place != k.place:
		f.violated(Overlapping, f.group, e.Message, e.Place, "begun although %v was not handled", k.place)
	}
	*k = keyState{place: e.Place, running: true}
}

// claim returns the event's claim, which begins with its first delivery.
func (f *follower) claim(e Event) *claimState {
	c := f.claims[e.Claim]
	if c == nil {
		c = &claimState{floor: f.committed[e.Place.Partition], keys: make(map[string]*keyState)}
		f.claims[e.Claim] = c
	}
	return c
}

// commit checks that everything below the position has been handled by now.
func (f *follower) commit(next Place, what string) {
	offsets := f.offsets[next.Partition]
	n := f.contiguous[next.Partition]
	for n < len(offsets) && f.handled[Place{next.Partition, offsets[n]}] {
		n++
	}
	f.contiguous[next.Partition] = n
	if n < len(offsets) && offsets[n] < next.Offset {
		missing := Place{next.Partition, offsets[n]}
		f.violated(Premature, f.group, f.at[missing], missing, "not handled yet, and %s is at %d", what, next.Offset)
	}
	if n == len(offsets) && n > 0 && next.Offset > offsets[n-1]+1 {
		f.violated(Premature, f.group, f.at[Place{next.Partition, offsets[n-1]}], Place{next.Partition, offsets[n-1]},
			"the last record of the log, and %s is at %d", what, next.Offset)
	}
}
