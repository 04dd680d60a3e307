package bus

import (
	"context"
	"sync"
	"time"

	"github.com/trunkline/trunkline/bus/driver"
)

// claim reads one partition from its assignment until it is revoked or drained.
//
// Its goroutine, run, fetches and admits records to the window; with order by
// partition it handles them itself. Otherwise its crew does, of at most as many as the
// window is wide. run waits for all of them, makes the last commit, and releases the
// partition.
//
// A lane is the records of one key that wait or are handled, one at a time: entries
// linked by behind, the last of them in lanes. A worker has the first.
type claim struct {
	sub  *Subscription
	part driver.Partition
	// ctx is the handlers': it ends with the subscription's and with the partition's.
	ctx context.Context
	// fetching ends with ctx, and when the subscription is drained.
	fetching context.Context
	commit   *committer

	crew crew

	mu     sync.Mutex
	window window
	once   int // AtMostOnce: records handed out whose handlers have not ended
	lanes  map[string]*entry
	room   chan struct{} // holds one token when the window may have got room
}

func newClaim(s *Subscription, p driver.Partition) *claim {
	c := &claim{sub: s, part: p, window: newWindow(s.cfg.reuse && !s.cfg.atMostOnce), lanes: map[string]*entry{}, room: make(chan struct{}, 1)}
	c.crew.handle, c.crew.limit = c.handleLane, s.cfg.window
	return c
}

func (c *claim) run() {
	ctx, cancel := context.WithCancelCause(c.sub.ctx)
	defer cancel(context.Canceled)
	c.ctx = ctx
	revoked := c.part.Context()
	defer context.AfterFunc(revoked, func() { cancel(context.Cause(revoked)) })()
	fetching, stop := context.WithCancelCause(c.sub.fetching)
	defer stop(context.Canceled)
	defer context.AfterFunc(revoked, func() { stop(context.Cause(revoked)) })()
	c.fetching = fetching

	c.commit = newCommitter(c)
	c.sub.hold(c)
	defer c.sub.letGo(c)
	if c.sub.batch != nil {
		c.readBatches()
	} else {
		c.read(fetching)
	}
	c.crew.end()
	c.commit.last()
	c.part.Release()
}

// read hands out records until fetching ends, or Fetch fails, which the session
// tells the reason of.
func (c *claim) read(fetching context.Context) {
	handing := fetching
	if c.sub.cfg.handOutOnDrain && !c.sub.leaves() {
		handing = c.ctx
		defer c.readRest()
	}
	for {
		recs, err := c.part.Fetch(fetching)
		if err != nil {
			c.fetchFailed(err)
			return
		}
		for i := range recs {
			if !c.handOut(handing, &recs[i]) {
				return
			}
		}
	}
}

// fetchFailed waits for the end of the claim, which is how the session tells why.
func (c *claim) fetchFailed(err error) {
	if c.fetching.Err() == nil && c.part.Context().Err() == nil {
		c.sub.bus.cfg.logger.Warn("fetch failed", "topic", c.sub.topic, "partition", c.part.ID(), "error", err)
		<-c.fetching.Done()
	}
}

// readRest hands out what the transport has already got, and would drop.
func (c *claim) readRest() {
	c.fetchRest(func(recs []Record) bool {
		for i := range recs {
			if !c.handOut(c.ctx, &recs[i]) {
				return false
			}
		}
		return true
	})
}

// A transport that has nothing any more is waited for as long as restPause; of one that
// never runs dry, as somebody keeps on publishing, restMost records are taken.
const (
	restPause = 20 * time.Millisecond
	restMost  = 1 << 16
)

// fetchRest gives take what the transport has already got, none if it is not ours any
// more, until take returns false.
func (c *claim) fetchRest(take func([]Record) bool) {
	for n := 0; n < restMost; {
		// The pause begins when Fetch waits, however late that is.
		ctx := &deadlineContext{Context: c.ctx, timeout: restPause}
		recs, err := c.part.Fetch(ctx)
		ctx.release()
		if err != nil || !take(recs) || len(recs) < c.sub.maxFetch {
			return
		}
		n += len(recs)
	}
}

// handOut waits for room in the window and sees to the record's handling. It
// returns false when nothing more is to be handed out.
func (c *claim) handOut(handing context.Context, r *Record) bool {
	if handing.Err() != nil {
		return false
	}
	cfg := c.sub.cfg
	c.mu.Lock()
	for c.window.full(cfg.window, cfg.ahead) || c.once >= cfg.window {
		c.mu.Unlock()
		select {
		case <-c.room:
		case <-handing.Done():
			return false
		}
		c.mu.Lock()
	}
	e := c.window.admit(r)
	if cfg.atMostOnce && r.DecodeErr == nil {
		e.once = true
		c.once++
		c.window.ack(e) // handleOnce commits it
	}
	waits := cfg.order == orderKey && len(r.Key) > 0 && c.fallIn(e)
	c.mu.Unlock()
	switch {
	case cfg.order == orderPartition:
		_, acked := c.handle(e)
		return acked
	case !waits:
		c.crew.add(e)
	}
	return true
}

// fallIn puts the record into its key's lane. It returns whether another is before
// it there; then the worker that has the lane will come to it.
func (c *claim) fallIn(e *entry) bool {
	last := c.lanes[string(e.rec.Key)]
	if last != nil {
		last.behind = e
	}
	c.lanes[string(e.rec.Key)] = e
	return last != nil
}

// leaveLane takes e, which was handled, out of its lane and returns the one behind it,
// nil when there is none. c.mu is held.
func (c *claim) leaveLane(e *entry) *entry {
	if c.sub.cfg.order != orderKey || len(e.rec.Key) == 0 {
		return nil
	}
	next := e.behind
	if next == nil {
		delete(c.lanes, string(e.rec.Key))
	}
	e.behind = nil
	return next
}

// handleLane handles the record and those behind it until there are none, or one is
// not to be acknowledged any more. Then the lane stays as it is: nothing of its key
// is begun any more, as it must not overtake that one.
func (c *claim) handleLane(e *entry) {
	for goesOn := true; e != nil && goesOn; {
		e, goesOn = c.handle(e)
	}
}

// handle delivers the record until it is acknowledged, and returns true then, and the one
// that is behind it in its lane; false when the claim or the subscription ends first. When
// the handler returns Later it returns true, too, and none behind: settled goes on. Either
// way e is not the caller's any more.
func (c *claim) handle(e *entry) (behind *entry, goesOn bool) {
	if e.once {
		c.handleOnce(e)
		c.mu.Lock()
		defer c.mu.Unlock()
		return c.leaveLane(e), true
	}
	l := e.later
	back := l != nil && l.back
	f := c.sub.inFlight
	if f != nil && !back && !f.take(c.waiting(), 1) {
		return nil, false
	}
	attempt := 1
	var err error
	if back {
		attempt, err, l.back = l.attempt, l.outcome, false
	}
	behind, goesOn, away := c.untilAcked(e, attempt, back, err)
	if f != nil && !away {
		f.give(1)
	}
	return behind, goesOn
}

// untilAcked is handle from this attempt on, which is made already, with the outcome err,
// when the record has come back. away says that it will come back.
func (c *claim) untilAcked(e *entry, attempt int, back bool, err error) (behind *entry, goesOn, away bool) {
	pause := newBackoff(c.sub.cfg.minBackoff, c.sub.cfg.maxBackoff)
	for range attempt - 1 {
		pause.next()
	}
	for ; ; attempt, back = attempt+1, false {
		if !back {
			if !c.mayBegin() {
				return nil, false, false
			}
			if err, away = c.deliver(e, attempt); away {
				return nil, true, true
			}
		}
		after := time.Duration(-1)
		if ctl, ok := controlOf(err); ok {
			switch ctl.verb {
			case verbDrop:
				err = nil
			case verbStop:
				c.sub.cancel(ctl)
				return nil, false, false
			case verbRetry:
				after = ctl.after
			case verbDeadLetter:
				if c.sub.cfg.deadLetter != "" {
					err = c.deadLetter(c.ctx, e, ctl.err)
				}
			}
		}
		if err == nil {
			return c.ack(e), true, false
		}
		if after < 0 {
			after = pause.next()
		}
		if !c.rest(after) {
			return nil, false, false
		}
	}
}

// handleOnce delivers a record that is acknowledged already, once that is committed.
func (c *claim) handleOnce(e *entry) {
	defer func() {
		c.mu.Lock()
		c.once--
		c.mu.Unlock()
		c.makeRoom()
	}()
	if err := c.commit.through(e.rec.Offset); err != nil {
		c.sub.bus.cfg.logger.Warn("message not handled: it could not be committed first, and may be lost", "topic", e.rec.Topic,
			"partition", e.rec.Partition, "offset", e.rec.Offset, "error", err)
		return
	}
	err, _ := c.deliver(e, 1) // nobody settles it later: see SettleLater
	if ctl, ok := controlOf(err); ok {
		switch ctl.verb {
		case verbStop:
			c.sub.cancel(ctl)
		case verbDeadLetter:
			if c.sub.cfg.deadLetter != "" {
				_ = c.deadLetter(c.ctx, e, ctl.err) // logged; it can't be delivered again
			}
		}
	}
}

// makeRoom wakes the reader, which may wait for the window.
func (c *claim) makeRoom() {
	select {
	case c.room <- struct{}{}:
	default:
	}
}

// mayBegin says whether a handler may still be started.
func (c *claim) mayBegin() bool {
	select {
	case <-c.sub.draining:
		return c.sub.cfg.handOutOnDrain && c.ctx.Err() == nil
	default:
		return c.ctx.Err() == nil
	}
}

// waiting returns the context under which a handler that has not begun may wait.
func (c *claim) waiting() context.Context {
	if c.sub.cfg.handOutOnDrain {
		return c.ctx
	}
	return c.fetching
}

// rest waits before the next attempt; false when there is to be none.
func (c *claim) rest(d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-c.ctx.Done():
	case <-c.sub.draining:
	}
	return false
}

// ack makes the record acknowledged, and tells who waits for that. It returns the one
// that is behind it in its lane.
func (c *claim) ack(e *entry) (behind *entry) {
	c.mu.Lock()
	behind = c.leaveLane(e)
	moved := c.window.ack(e)
	c.mu.Unlock()
	c.makeRoom()
	if moved {
		c.commit.moved()
	}
	return behind
}

// position is what may be committed; -1 for nothing.
func (c *claim) position() int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.window.next
}
