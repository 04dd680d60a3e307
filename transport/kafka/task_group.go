package kafka

import (
	"sync"
	"time"
)

// taskGroup runs goroutines that take no context. They end after the network is closed.
type taskGroup struct {
	mu     sync.Mutex
	n      int
	closed bool
	idle   chan struct{} // set by wait, closed when n is 0
}

// start runs f in a goroutine. After wait was called, it returns false and does not run f.
func (g *taskGroup) start(f func()) bool {
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

func (g *taskGroup) end() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.n--
	if g.n == 0 && g.idle != nil {
		close(g.idle)
	}
}

// wait waits up to d for all goroutines and reports whether they have ended.
func (g *taskGroup) wait(d time.Duration) bool {
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
