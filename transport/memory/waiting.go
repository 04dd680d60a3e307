package memory

import "slices"

// This file has the two queues of a partition: publishers that wait for space, and claims
// whose Fetch waits for records.

// waitingPublisher is a publisher that waits for its turn to append.
type waitingPublisher struct{ signal chan struct{} } // capacity 1

func (w *waitingPublisher) wake() {
	if w == nil {
		return
	}
	select {
	case w.signal <- struct{}{}:
	default:
	}
}

// tryAppend appends the draft if there is space and no publisher waits. It returns the
// offset, or full, or the error that prevents every append.
func (p *partition) tryAppend(d *draft) (offset int64, full bool, err error) {
	p.mu.Lock()
	if p.deleted != nil {
		err = p.deleted
		p.mu.Unlock()
		return -1, false, err
	}
	if len(p.publishers) > 0 || !p.makeSpace(d) {
		p.mu.Unlock()
		return -1, true, nil
	}
	offset = p.push(d)
	first, others := p.takeWaitingClaims()
	p.mu.Unlock()
	signalClaims(first, others)
	return offset, false, nil
}

// enqueue adds a publisher to the queue.
func (p *partition) enqueue() *waitingPublisher {
	w := &waitingPublisher{signal: make(chan struct{}, 1)}
	p.mu.Lock()
	p.publishers = append(p.publishers, w)
	p.mu.Unlock()
	return w
}

// tryAppendQueued is tryAppend for a publisher in the queue. The publisher stays
// in the queue only if full is true.
func (p *partition) tryAppendQueued(w *waitingPublisher, d *draft) (offset int64, full bool, err error) {
	p.mu.Lock()
	switch {
	case p.deleted != nil:
		offset, err = -1, p.deleted
	case p.publishers[0] != w || !p.makeSpace(d):
		p.mu.Unlock()
		return -1, true, nil
	default:
		offset = p.push(d)
	}
	next := p.removePublisher(w)
	first, others := p.takeWaitingClaims()
	p.mu.Unlock()
	next.wake()
	signalClaims(first, others)
	return offset, false, err
}

// dequeue removes a publisher that stops waiting.
func (p *partition) dequeue(w *waitingPublisher) {
	p.mu.Lock()
	next := p.removePublisher(w)
	p.mu.Unlock()
	next.wake()
}

// removePublisher removes w and returns the publisher to wake.
func (p *partition) removePublisher(w *waitingPublisher) *waitingPublisher {
	if i := slices.Index(p.publishers, w); i >= 0 {
		p.publishers = slices.Delete(p.publishers, i, i+1)
	}
	return p.nextPublisher()
}

// nextPublisher returns the publisher to wake when there may be space, nil if none waits.
func (p *partition) nextPublisher() *waitingPublisher {
	if len(p.publishers) == 0 {
		return nil
	}
	return p.publishers[0]
}

// addWaitingClaim makes the next append signal c.
func (p *partition) addWaitingClaim(c *claim) {
	switch {
	case c.waiting:
		return
	case p.waitingClaim == nil:
		p.waitingClaim = c
	default:
		p.waitingClaims = append(p.waitingClaims, c)
	}
	c.waiting = true
}

// takeWaitingClaims removes and returns all waiting claims.
func (p *partition) takeWaitingClaims() (first *claim, others []*claim) {
	first, others = p.waitingClaim, p.waitingClaims
	p.waitingClaim, p.waitingClaims = nil, nil
	if first != nil {
		first.waiting = false
	}
	for _, c := range others {
		c.waiting = false
	}
	return first, others
}

func (p *partition) removeWaitingClaim(c *claim) {
	if !c.waiting {
		return
	}
	c.waiting = false
	if p.waitingClaim == c {
		p.waitingClaim = nil
		return
	}
	p.waitingClaims = slices.DeleteFunc(p.waitingClaims, func(w *claim) bool { return w == c })
}

func signalClaims(first *claim, others []*claim) {
	if first != nil {
		first.signal()
	}
	for _, c := range others {
		c.signal()
	}
}
