package delivery

import (
	"context"
	"sync"
	"time"

	"github.com/trunkline/trunkline/bus/driver"
	"github.com/trunkline/trunkline/bus/hook"
	"github.com/trunkline/trunkline/internal/lazy"
)

// committer commits the acknowledged prefix of one claim. If the commit interval is 0, the
// goroutine that moved the prefix commits it. Otherwise the committer's own goroutine commits once
// per interval. In both cases the committer's goroutine repeats a commit after a temporary error.
//
// Lock order: committer.mu, then claim.mu.
type committer struct {
	claim    *claim
	interval time.Duration
	base     context.Context // claim.ctx without cancellation: commits are possible until driver.Partition.Release

	dirty chan struct{} // holds one token when the goroutine must commit
	end   chan struct{} // closed by last
	ended chan struct{} // closed by the goroutine

	mu        sync.Mutex // held during a commit, so that commits never overlap
	committed int64      // the offset of the last successful commit
	ctx       *lazy.Context
}

func newCommitter(c *claim) *committer {
	k := &committer{claim: c, interval: *c.engine.cfg.CommitInterval, base: context.WithoutCancel(c.ctx), committed: -1,
		dirty: make(chan struct{}, 1), end: make(chan struct{}), ended: make(chan struct{})}
	go k.gather()
	return k
}

// moved commits the acknowledged prefix, or signals the goroutine to commit it. It must be
// called after the prefix has grown.
func (k *committer) moved() {
	if k.interval > 0 {
		k.mark()
		return
	}
	if err := k.commit(); driver.Temporary(err) {
		k.mark()
	}
}

func (k *committer) mark() {
	select {
	case k.dirty <- struct{}{}:
	default:
	}
}

// gather is the goroutine of the committer. It gathers acknowledgements for an interval, and then
// commits.
func (k *committer) gather() {
	defer close(k.ended)
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
		if err := k.commit(); driver.Temporary(err) {
			k.mark()
		}
	}
}

// last ends the goroutine and makes the last commit. It must be called after every handler has
// returned. It repeats the commit after a temporary error, until the partition is revoked.
func (k *committer) last() {
	close(k.end)
	<-k.ended
	pause := NewBackoff(50*time.Millisecond, time.Second)
	err := k.commit()
	for driver.Temporary(err) && pause.Wait(k.claim.ctx) {
		err = k.commit()
	}
	if k.ctx != nil {
		k.ctx.Release()
	}
	if err != nil {
		cfg := &k.claim.engine.cfg
		cfg.Logger.Warn("last commit failed: messages will be delivered again", "topic", cfg.Topic,
			"partition", k.claim.part.ID(), "offset", k.claim.next(), "error", err)
	}
}

// through waits until everything up to and including offset is committed. It returns an error if
// the claim ends first, or if a commit fails permanently.
func (k *committer) through(offset int64) error {
	pause := NewBackoff(50*time.Millisecond, time.Second)
	for {
		err := k.commit()
		k.mu.Lock()
		done := k.committed > offset
		k.mu.Unlock()
		switch {
		case done:
			return nil
		case err != nil && !driver.Temporary(err):
			return err
		case !pause.Wait(k.claim.ctx):
			return context.Cause(k.claim.ctx)
		}
	}
}

// commit commits the acknowledged prefix, unless it is committed already.
func (k *committer) commit() error {
	k.mu.Lock()
	defer k.mu.Unlock()
	next := k.claim.next()
	if next <= k.committed {
		return nil
	}
	err := k.claim.part.Commit(k.bounded(), next, "")
	if err == nil {
		k.committed = next
	}
	cfg := &k.claim.engine.cfg
	cfg.Observers.onCommit(hook.CommitEvent{Transport: cfg.Caps.Name, Topic: cfg.Topic, Group: cfg.Group,
		Partition: k.claim.part.ID(), Next: next, Err: err})
	return err
}

// bounded returns a context with the commit time-out. It returns the same context again until a
// transport has called its Done, because only then the time-out begins. The caller holds the mutex.
func (k *committer) bounded() context.Context {
	if k.ctx == nil || k.ctx.Started() {
		if k.ctx != nil {
			k.ctx.Release()
		}
		k.ctx = lazy.Bounded(k.base, k.claim.engine.cfg.CommitTimeout)
	}
	return k.ctx
}
