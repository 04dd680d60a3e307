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
	away   int  // records that are handled by nobody here, and come back
	over   bool // nothing is added any more
}

// worker is what one of them waits on.
type worker struct{ wake chan struct{} } // room for one

// add queues the record, and sees to it that somebody comes for it.
func (c *crew) add(e *entry) {
	c.mu.Lock()
	c.ready.push(e)
	w := c.next()
	c.mu.Unlock()
	w.call()
}

// next sees to it that somebody comes to the queue, unless somebody is on the way, or
// everybody is at work: then the first that has done comes by itself. It returns who is
// to be called, nil for nobody. c.mu is held.
func (c *crew) next() *worker {
	if c.coming > 0 || c.ready.first == nil {
		return nil
	}
	if last := len(c.idle) - 1; last >= 0 {
		w := c.idle[last]
		c.idle = c.idle[:last]
		c.coming++
		return w
	}
	if c.hired < c.limit && !c.over { // later on, end may wait already
		c.hired++
		c.coming++
		c.all.Go(c.work)
	}
	return nil
}

func (w *worker) call() {
	if w != nil {
		w.wake <- struct{}{}
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
			if c.over && c.away == 0 {
				c.mu.Unlock()
				return
			}
			c.idle = append(c.idle, w)
			c.mu.Unlock()
			<-w.wake
			came = true
			continue
		}
		other := c.next()
		c.mu.Unlock()
		other.call()
		came = false
		c.handle(e)
	}
}

// leave says that the record which the caller, a worker, handles will come back.
func (c *crew) leave() {
	c.mu.Lock()
	c.away++
	c.mu.Unlock()
}

// stay takes leave back: those who wait for that record may go.
func (c *crew) stay() {
	c.mu.Lock()
	c.away--
	idle := c.dismiss()
	c.mu.Unlock()
	for _, w := range idle {
		w.call()
	}
}

// back says that a record has come back; e is what is to be handled now, nil for none.
func (c *crew) back(e *entry) {
	c.mu.Lock()
	c.away--
	if e != nil {
		c.ready.push(e)
	}
	w := c.next()
	idle := c.dismiss()
	c.mu.Unlock()
	w.call()
	for _, w := range idle {
		w.call()
	}
}

// end has the workers go once the queue is empty and nothing will come back, and waits
// for them. Nothing is added any more.
func (c *crew) end() {
	c.mu.Lock()
	c.over = true
	idle := c.dismiss()
	c.mu.Unlock()
	for _, w := range idle {
		w.call()
	}
	c.all.Wait()
}

// dismiss returns the idle workers, who are to be woken, if they may go. c.mu is held.
func (c *crew) dismiss() []*worker {
	if !c.over || c.away > 0 {
		return nil
	}
	idle := c.idle
	c.idle = nil
	c.coming += len(idle)
	return idle
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
