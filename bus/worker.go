package bus

// worker is a goroutine that handles records of a claim. Workers stay for the next
// record: a new goroutine for each would have to grow its stack each time. The one that
// has worked last gets the next record, as its stack has not been taken back yet.
type worker struct{ work chan *entry } // room for one; closed by the claim's run

// assign gives the record, and its lane, to a worker that is idle, or to a new one as
// long as there are fewer than the window is wide. It is run's own.
func (c *claim) assign(e *entry) {
	for {
		if w := c.someIdle(); w != nil {
			w.work <- e
			return
		}
		if len(c.staff) < c.sub.cfg.window {
			break
		}
		<-c.free // one is about to be: the window would have had no room otherwise
	}
	w := &worker{work: make(chan *entry, 1)}
	c.staff = append(c.staff, w)
	c.workers.Go(func() { c.serve(w, e) })
}

func (c *claim) someIdle() *worker {
	c.mu.Lock()
	defer c.mu.Unlock()
	last := len(c.idle) - 1
	if last < 0 {
		return nil
	}
	w := c.idle[last]
	c.idle = c.idle[:last]
	return w
}

// serve is the worker's goroutine.
func (c *claim) serve(w *worker, e *entry) {
	for open := true; open; e, open = <-w.work {
		c.handleLane(e)
		c.mu.Lock()
		c.idle = append(c.idle, w)
		c.mu.Unlock()
		select {
		case c.free <- struct{}{}:
		default:
		}
	}
}
