package rpc

import (
	"context"
	"sync"
	"time"

	"github.com/trunkline/trunkline/bus"
	"github.com/trunkline/trunkline/internal/delivery"
)

const (
	maxNotices    = 4096            // that wait to be published
	noticeTimeout = 5 * time.Second // to publish one
)

// notices publishes what nobody waits for, one after the other, so that whoever sends
// one is not held up: cancels, and answers to those who ask whether somebody is alive.
// Beyond its bound they are dropped. It has a goroutine while there is something to do.
type notices struct {
	bus  *bus.Bus
	ctx  context.Context // ended by close
	stop context.CancelFunc

	mu      sync.Mutex
	queue   []*bus.Record
	running bool
	closed  bool
	all     sync.WaitGroup
}

func newNotices(b *bus.Bus) *notices {
	n := &notices{bus: b}
	n.ctx, n.stop = context.WithCancel(delivery.ExistingTopic(context.Background()))
	return n
}

// send takes the record, and returns whether there was room for it.
func (n *notices) send(r *bus.Record) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.closed || len(n.queue) >= maxNotices {
		return false
	}
	n.queue = append(n.queue, r)
	if !n.running {
		n.running = true
		n.all.Go(n.run)
	}
	return true
}

func (n *notices) run() {
	for {
		n.mu.Lock()
		if len(n.queue) == 0 || n.closed {
			n.queue, n.running = nil, false
			n.mu.Unlock()
			return
		}
		next := n.queue[0]
		n.queue = n.queue[1:]
		n.mu.Unlock()
		ctx, cancel := context.WithTimeout(n.ctx, noticeTimeout)
		n.bus.PublishRecord(ctx, next, func(bus.Outcome) { cancel() })
	}
}

// close drops what is left and waits for the goroutine.
func (n *notices) close() {
	n.mu.Lock()
	n.closed = true
	n.mu.Unlock()
	n.stop()
	n.all.Wait()
}
