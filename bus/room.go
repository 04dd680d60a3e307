package bus

import (
	"context"
	"sync"
)

// room is a number of places that are taken several at a time, first come, first
// served.
type room struct {
	mu    sync.Mutex
	free  int
	queue []*roomWait
}

type roomWait struct {
	n  int
	in chan struct{} // closed when the places are its own
}

func newRoom(n int) *room { return &room{free: n} }

// take waits for n places, and returns false when ctx ends first.
func (r *room) take(ctx context.Context, n int) bool {
	r.mu.Lock()
	if len(r.queue) == 0 && r.free >= n {
		r.free -= n
		r.mu.Unlock()
		return ctx.Err() == nil || r.giveBack(n)
	}
	w := &roomWait{n: n, in: make(chan struct{})}
	r.queue = append(r.queue, w)
	r.mu.Unlock()
	select {
	case <-w.in:
		return true
	case <-ctx.Done():
	}
	r.mu.Lock()
	for i, q := range r.queue {
		if q == w {
			r.queue = append(r.queue[:i], r.queue[i+1:]...)
			r.admit() // those behind it may be smaller
			r.mu.Unlock()
			return false
		}
	}
	r.mu.Unlock()
	return r.giveBack(n) // it had just got them
}

func (r *room) giveBack(n int) bool {
	r.give(n)
	return false
}

// give frees n places.
func (r *room) give(n int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.free += n
	r.admit()
}

// admit is called with mu held.
func (r *room) admit() {
	for len(r.queue) > 0 && r.queue[0].n <= r.free {
		w := r.queue[0]
		r.queue = r.queue[1:]
		r.free -= w.n
		close(w.in)
	}
}
