package consumer

import (
	"context"
	"sync"
	"sync/atomic"

	"github.com/trunkline/trunkline/bus"
)

// blocked knows the messages that have failed as often as they may, with nowhere to go:
// each holds up what is ordered after it.
type blocked struct {
	n  atomic.Int64 // len(at)
	mu sync.Mutex
	at map[place]func() bool // stops watching for the end of its claim
}

type place struct {
	topic     string
	partition int32
	offset    int64
}

func placeOf(r *bus.Record) place { return place{r.Topic, r.Partition, r.Offset} }

// block notes the message until it is unblocked, or ctx, its claim's, ends.
func (b *blocked) block(ctx context.Context, r *bus.Record) {
	at := placeOf(r)
	b.mu.Lock()
	defer b.mu.Unlock()
	if _, known := b.at[at]; known {
		return
	}
	if b.at == nil {
		b.at = map[place]func() bool{}
	}
	b.at[at] = context.AfterFunc(ctx, func() { b.remove(at) })
	b.n.Store(int64(len(b.at)))
}

func (b *blocked) unblock(r *bus.Record) {
	if b.n.Load() > 0 {
		b.remove(placeOf(r))
	}
}

func (b *blocked) remove(at place) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if stop, known := b.at[at]; known {
		stop()
		delete(b.at, at)
		b.n.Store(int64(len(b.at)))
	}
}
