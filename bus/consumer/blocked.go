package consumer

import (
	"context"
	"sync"
	"sync/atomic"

	"github.com/trunkline/trunkline/bus"
)

// blockedMessages are the messages that have failed and cannot be moved to another topic: they
// have used up their attempts and there is neither a retry topic nor a dead-letter topic, or
// the handler returned a bus.DeadLetter and there is no dead-letter topic.
type blockedMessages struct {
	count atomic.Int64 // len(stops)
	mu    sync.Mutex
	stops map[position]func() bool // removes the callback for the end of the context
}

type position struct {
	topic     string
	partition int32
	offset    int64
}

func positionOf(r *bus.Record) position { return position{r.Topic, r.Partition, r.Offset} }

// add adds the message. The message stays until remove is called, or until ctx ends because
// its partition is revoked. add reports whether the message was not blocked before.
func (b *blockedMessages) add(ctx context.Context, r *bus.Record) bool {
	p := positionOf(r)
	b.mu.Lock()
	defer b.mu.Unlock()
	if _, found := b.stops[p]; found {
		return false
	}
	if b.stops == nil {
		b.stops = map[position]func() bool{}
	}
	b.stops[p] = context.AfterFunc(ctx, func() { b.removePosition(p) })
	b.count.Store(int64(len(b.stops)))
	return true
}

func (b *blockedMessages) remove(r *bus.Record) {
	if b.count.Load() > 0 {
		b.removePosition(positionOf(r))
	}
}

func (b *blockedMessages) removePosition(p position) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if stop, found := b.stops[p]; found {
		stop()
		delete(b.stops, p)
		b.count.Store(int64(len(b.stops)))
	}
}
