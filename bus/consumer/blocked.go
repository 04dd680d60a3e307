package consumer

import (
	"context"
	"sync"
	"sync/atomic"

	"github.com/trunkline/trunkline/bus"
)

// blockedMessages are the messages that have used up their attempts and have neither a retry
// topic nor a dead-letter topic. Messages ordered after them wait.
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

// add adds the message until remove, or until ctx ends, which is when its partition is
// revoked. It reports whether the message was not there before.
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
