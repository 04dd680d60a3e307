package bus

import "sync"

// crew are the goroutines that handle a claim's records side by side. They take what is
// ready from one queue: as long as handlers are quick a single one does all the work, and
// when one blocks others come, one after the other, as many as there may be. So a record
// costs the waking of a goroutine only where that buys something.
//
// A worker stays when there is nothing to do, and the one that has worked last is woken
// first: its stack has grown already.
type crew struct {
	handle func(*entry)
	limit  int
	all    sync.WaitGroup

	mu     sync.Mutex
	ready  fifo
	idle   []*worker
	hired  int
	coming int  // woken or hired, and not yet at the queue: 0 or 1
	over   bool // nothing comes any more
}

// worker is what one of them waits on.
type worker struct{ wake chan struct{} } // room for one

// add queues the record, and sees to it that somebody comes for it.
func (c *crew) add(e *entry) {
	c.mu.Lock()
	c.ready.push(e)
	w, hire := c.next()
	c.mu.Unlock()
	c.call(w, hire)
}

// next picks who is to come to the queue, unless somebody is on the way, or everybody
// is at work: then the first that has done comes by itself. c.mu is held.
func (c *crew) next() (w *worker, hire bool) {
	if c.coming > 0 || c.ready.first == nil {
		return nil, false
	}
	if last := len(c.idle) - 1; last >= 0 {
		w, c.idle = c.idle[last], c.idle[:last]
		c.coming++
		return w, false
	}
	if c.hired < c.limit {
		c.hired++
		c.coming++
		return nil, true
	}
	return nil, false
}

func (c *crew) call(w *worker, hire bool) {
	switch {
	case w != nil:
		w.wake <- struct{}{}
	case hire:
		c.all.Go(c.work)
	}
}

// work is a worker's goroutine.
func (c *crew) work() {
	w := &worker{wake: make(chan struct{}, 1)}
	for came := true; ; {
		c.mu.Lock()
		if came {
			c.coming--
		}
		e := c.ready.pop()
		if e == nil {
			if c.over {
				c.mu.Unlock()
				return
			}
			c.idle = append(c.idle, w)
			c.mu.Unlock()
			<-w.wake
			came = true
			continue
		}
		other, hire := c.next()
		c.mu.Unlock()
		c.call(other, hire)
		came = false
		c.handle(e)
	}
}

// end has the workers go once the queue is empty, and waits for them. Nothing is added
// any more.
func (c *crew) end() {
	c.mu.Lock()
	c.over = true
	idle := c.idle
	c.idle = nil
	c.coming += len(idle)
	c.mu.Unlock()
	for _, w := range idle {
		w.wake <- struct{}{}
	}
	c.all.Wait()
}

// fifo is a queue of entries, linked through them.
type fifo struct{ first, last *entry }

func (q *fifo) push(e *entry) {
	if q.last != nil {
		q.last.queued = e
	} else {
		q.first = e
	}
	q.last = e
}

func (q *fifo) pop() *entry {
	e := q.first
	if e == nil {
		return nil
	}
	if q.first = e.queued; q.first == nil {
		q.last = nil
	}
	e.queued = nil
	return e
}
