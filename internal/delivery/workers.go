package delivery

import "sync"

// workers are the goroutines that handle the records of a claim concurrently. They take
// what is ready from one queue. As long as handlers are quick, a single worker does all the
// work; when one blocks the next begins, up to the limit. So a record costs the wake-up of a
// goroutine only where that gains something.
//
// A worker without work stays, and the one that worked last is woken first, because its
// stack has already grown. The claim's mutex guards all fields except claim and running.
type workers struct {
	claim   *claim
	limit   int
	running sync.WaitGroup

	idle     []*worker
	started  int
	coming   int  // started or woken, and not yet at the queue: 0 or 1
	deferred int  // items whose handler returned ErrLater; they come back to ready
	stopping bool // nothing is added any more
}

// worker is what an idle worker waits for.
type worker struct{ wake chan struct{} } // holds one token

func (w *workers) init(c *claim, limit int) { w.claim, w.limit = c, limit }

// next makes sure that a worker comes to the queue, if something is ready. It returns the
// worker to call after the mutex is released, nil for none: one is on its way, a new one was
// started, or all are busy, and the first that finishes comes by itself. The caller holds
// the mutex.
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

// call wakes the worker; nil is no worker.
func (w *worker) call() {
	if w != nil {
		w.wake <- struct{}{}
	}
}

// work is the goroutine of a worker.
func (w *workers) work() {
	c, self := w.claim, &worker{wake: make(chan struct{}, 1)}
	for came := true; ; {
		c.mu.Lock()
		if came {
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
			came = true
			continue
		}
		other := w.next()
		c.mu.Unlock()
		other.call()
		came = false
		c.handleKey(it)
	}
}

// returnDeferred continues after an item that was deferred is settled. The caller holds the
// mutex, and calls the workers that it returns after releasing it.
func (w *workers) returnDeferred() (next *worker, idle []*worker) {
	w.deferred--
	next = w.next()
	return next, w.dismiss()
}

// stop ends the workers once nothing is ready or deferred, and waits for them. Nothing is
// added afterwards.
func (w *workers) stop() {
	w.claim.mu.Lock()
	w.stopping = true
	idle := w.dismiss()
	w.claim.mu.Unlock()
	callAll(idle)
	w.running.Wait()
}

// dismiss returns the idle workers, to be called, if they can end. The caller holds the
// mutex.
func (w *workers) dismiss() []*worker {
	if !w.stopping || w.deferred > 0 {
		return nil
	}
	idle := w.idle
	w.idle = nil
	w.coming += len(idle)
	return idle
}

func callAll(all []*worker) {
	for _, w := range all {
		w.call()
	}
}
