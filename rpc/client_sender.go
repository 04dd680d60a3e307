package rpc

import (
	"context"
	"sync"
	"time"

	"github.com/trunkline/trunkline/bus"
	"github.com/trunkline/trunkline/internal/delivery"
)

const (
	maxQueued   = 4096            // records that wait in a sender
	sendTimeout = 5 * time.Second // for the publication of one record
)

// sender publishes records, one after another, without waiting for their outcomes. The
// records are cancel messages, and the answers of answerAlive. send does not block: if the
// queue is full, it drops the record. A goroutine runs while the queue is not empty.
type sender struct {
	bus  *bus.Bus
	ctx  context.Context // ended by close
	stop context.CancelFunc

	mu      sync.Mutex
	queue   []*bus.Record
	running bool
	closed  bool
	done    sync.WaitGroup
}

func newSender(b *bus.Bus) *sender {
	s := &sender{bus: b}
	s.ctx, s.stop = context.WithCancel(delivery.ExistingTopic(context.Background()))
	return s
}

// send queues r, and returns false if it drops r.
func (s *sender) send(r *bus.Record) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed || len(s.queue) >= maxQueued {
		return false
	}
	s.queue = append(s.queue, r)
	if !s.running {
		s.running = true
		s.done.Go(s.run)
	}
	return true
}

func (s *sender) run() {
	for {
		s.mu.Lock()
		if len(s.queue) == 0 || s.closed {
			s.queue, s.running = nil, false
			s.mu.Unlock()
			return
		}
		next := s.queue[0]
		s.queue = s.queue[1:]
		s.mu.Unlock()
		ctx, cancel := context.WithTimeout(s.ctx, sendTimeout)
		s.bus.PublishRecord(ctx, next, func(bus.Outcome) { cancel() })
	}
}

// close drops the queue and waits for the goroutine.
func (s *sender) close() {
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	s.stop()
	s.done.Wait()
}
