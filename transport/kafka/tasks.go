package kafka

import (
	"sync"
	"time"
)

// tasks counts goroutines that take no context and end once the network is cut.
type tasks struct {
	mu     sync.Mutex
	n      int
	closed bool
	idle   chan struct{} // made by wait, closed when n is 0
}

// start says false, and runs nothing, when wait was called.
func (g *tasks) start(f func()) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.closed {
		return false
	}
	g.n++
	go func() {
		defer g.end()
		f()
	}()
	return true
}

func (g *tasks) end() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.n--
	if g.n == 0 && g.idle != nil {
		close(g.idle)
	}
}

// wait says whether all ended in time.
func (g *tasks) wait(d time.Duration) bool {
	g.mu.Lock()
	g.closed = true
	if g.n == 0 {
		g.mu.Unlock()
		return true
	}
	g.idle = make(chan struct{})
	g.mu.Unlock()
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-g.idle:
		return true
	case <-timer.C:
		return false
	}
}
