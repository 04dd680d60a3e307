package delivery

import "sync"

// workers are the goroutines that handle the records of a claim concurrently. They take
// items from the queue state.ready. A worker that takes an item starts or wakes the next worker if
// the queue has more, up to the limit. So no goroutine is woken for an empty queue.
//
// An idle worker does not end. The worker that became idle last is woken first, because its
// stack has already grown. The claim's mutex guards all fields except claim and running.
type workers struct {
	claim   *claim
	limit   int
	running sync.WaitGroup

	idle     []*worker
	started  int
	coming   int  // workers that were started or woken and have not read the queue yet; at most 1 before stop
	deferred int  // items whose handler returned ErrLater, until they are settled
	stopping bool // stop was called
}

// worker has the channel on which an idle worker waits.
type worker struct{ wake chan struct{} } // holds one token

func (w *workers) init(c *claim, limit int) { w.claim, w.limit = c, limit }

// next makes sure that a worker reads the queue if an item is ready. It returns an idle worker,
// which the caller must wake after it has released the mutex. It returns nil if no idle worker is
// needed: a worker is about to read the queue, next has started one, or all are busy and the
// first that finishes reads the queue. The caller holds the mutex.
func (w *workers) next() *worker {
	if w.coming > 0 || w.claim.state.ready.first == nil {
		return nil
	}
	if last := len(w.idle) - 1; last >= 0 {
		idle := w.idle[last]
		w.idle = w.idle[:last]
		w.coming++
		return idle
	}
	if w.started < w.limit && !w.stopping { // stop may already wait for running
		w.started++
		w.coming++
		w.running.Go(w.work)
	}
	return nil
}

// signal wakes the worker. It does nothing if w is nil.
func (w *worker) signal() {
	if w != nil {
		w.wake <- struct{}{}
	}
}

// work is the goroutine of a worker.
func (w *workers) work() {
	c, self := w.claim, &worker{wake: make(chan struct{}, 1)}
	for woken := true; ; {
		c.mu.Lock()
		if woken {
			w.coming--
		}
		it := c.state.ready.pop()
		if it == nil {
			if w.stopping && w.deferred == 0 {
				c.mu.Unlock()
				return
			}
			w.idle = append(w.idle, self)
			c.mu.Unlock()
			<-self.wake
			woken = true
			continue
		}
		other := w.next()
		c.mu.Unlock()
		other.signal()
		woken = false
		c.handleKey(it)
	}
}

// returnDeferred records that a deferred item is settled. It returns the workers that the caller
// must wake after it has released the mutex. The caller holds the mutex.
func (w *workers) returnDeferred() (next *worker, idle []*worker) {
	w.deferred--
	next = w.next()
	return next, w.takeIdle()
}

// stop waits until no item is ready or deferred, and ends the workers. No record may be admitted
// after stop is called.
func (w *workers) stop() {
	w.claim.mu.Lock()
	w.stopping = true
	idle := w.takeIdle()
	w.claim.mu.Unlock()
	signalAll(idle)
	w.running.Wait()
}

// takeIdle returns all idle workers if they can end. The caller must wake them after it has
// released the mutex. The caller holds the mutex.
func (w *workers) takeIdle() []*worker {
	if !w.stopping || w.deferred > 0 {
		return nil
	}
	idle := w.idle
	w.idle = nil
	w.coming += len(idle)
	return idle
}

func signalAll(all []*worker) {
	for _, w := range all {
		w.signal()
	}
}
