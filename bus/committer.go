package bus

import (
	"context"
	"sync"
	"time"
)

// committer commits one claim's position. With no commit interval whoever moves the
// position commits it; otherwise its goroutine does, once an interval. A commit that
// failed, and may succeed later, is left to the goroutine either way.
//
// Lock order: committer.mu, then claim.mu.
type committer struct {
	claim    *claim
	interval time.Duration
	base     context.Context // the claim's values, without its end: see Partition.Release

	dirty chan struct{} // holds one token when the goroutine has work
	end   chan struct{} // closed by last
	done  chan struct{} // closed by the goroutine

	mu        sync.Mutex // held during a commit, so that commits never overlap
	committed int64      // position of the last commit that took
	ctx       *deadlineContext
}

func newCommitter(c *claim) *committer {
	k := &committer{claim: c, interval: *c.sub.cfg.commitInterval, base: context.WithoutCancel(c.ctx), committed: -1,
		dirty: make(chan struct{}, 1), end: make(chan struct{}), done: make(chan struct{})}
	go k.gather()
	return k
}

// moved is called whenever the position has moved.
func (k *committer) moved() {
	if k.interval > 0 {
		k.mark()
		return
	}
	if err := k.commit(); temporary(err) {
		k.mark()
	}
}

func (k *committer) mark() {
	select {
	case k.dirty <- struct{}{}:
	default:
	}
}

// gather is the goroutine.
func (k *committer) gather() {
	defer close(k.done)
	pause := k.interval
	if pause == 0 {
		pause = time.Second
	}
	for {
		select {
		case <-k.dirty:
		case <-k.end:
			return
		}
		t := time.NewTimer(pause)
		select {
		case <-t.C:
		case <-k.end:
			t.Stop()
			return
		}
		if err := k.commit(); temporary(err) {
			k.mark()
		}
	}
}

// last makes the final commit, after every handler has returned, and tries again
// for as long as that can help and the claim is ours.
func (k *committer) last() {
	close(k.end)
	<-k.done
	pause := newBackoff(50*time.Millisecond, time.Second)
	err := k.commit()
	for temporary(err) && pause.wait(k.claim.ctx) {
		err = k.commit()
	}
	k.release()
	if err != nil {
		k.claim.sub.bus.cfg.logger.Warn("last commit failed: messages will be delivered again", "topic", k.claim.sub.topic,
			"partition", k.claim.part.ID(), "position", k.claim.position(), "error", err)
	}
}

// through returns nil once everything up to and with offset is committed; it fails
// when the claim ends first, or a commit fails for good.
func (k *committer) through(offset int64) error {
	pause := newBackoff(50*time.Millisecond, time.Second)
	for {
		err := k.commit()
		k.mu.Lock()
		done := k.committed > offset
		k.mu.Unlock()
		switch {
		case done:
			return nil
		case err != nil && !temporary(err):
			return err
		case !pause.wait(k.claim.ctx):
			return context.Cause(k.claim.ctx)
		}
	}
}

// bounded returns the context of a commit. One does for many, until a transport has
// waited for it. mu is held.
func (k *committer) bounded() context.Context {
	if k.ctx == nil || k.ctx.waitedFor() {
		k.release()
		k.ctx = newDeadline(k.base, k.claim.sub.bus.cfg.closeTimeout)
	}
	return k.ctx
}

func (k *committer) release() {
	if k.ctx != nil {
		k.ctx.release()
	}
}

// commit commits the position, unless that is done already.
func (k *committer) commit() error {
	k.mu.Lock()
	defer k.mu.Unlock()
	next := k.claim.position()
	if next <= k.committed {
		return nil
	}
	s := k.claim.sub
	err := k.claim.part.Commit(k.bounded(), next, "")
	if err == nil {
		k.committed = next
	}
	s.cfg.hooks.onCommit(CommitEvent{Transport: s.bus.caps.Name, Topic: s.topic, Group: s.cfg.group, Partition: k.claim.part.ID(), Next: next, Err: err})
	return err
}
