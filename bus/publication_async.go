package bus

import (
	"context"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/trunkline/trunkline/bus/driver"
	"github.com/trunkline/trunkline/bus/hook"
	"github.com/trunkline/trunkline/internal/delivery"
	"github.com/trunkline/trunkline/internal/lazy"
)

// asyncPublication reports the outcome of one message. The bus reuses its memory under the same
// conditions as that of a publication.
type asyncPublication struct {
	bus      *Bus
	hooks    *delivery.Hooks
	begun    time.Time
	message  *message.Message // for hooks
	deadline lazy.Context
	done     func(Outcome)
	batch    [1]driver.Outgoing
	headers  []Header
	key      []byte
}

func (b *Bus) newAsyncPublication(ctx context.Context, topic string, done func(Outcome)) *asyncPublication {
	a, ok := b.asyncPublications.Get().(*asyncPublication)
	if !ok {
		a = &asyncPublication{bus: b}
	}
	a.hooks, a.done = b.hooks.Load(), done
	if len(a.hooks.Publish) > 0 {
		a.begun = time.Now()
	}
	a.deadline.Bound(ctx, b.cfg.deliveryTimeout)
	out := &a.batch[0]
	out.Context, out.Topic, out.Sink = &a.deadline, topic, a
	return a
}

// Published implements driver.Sink.
func (a *asyncPublication) Published(o *driver.Outgoing, r Outcome) {
	b, done := a.bus, a.done
	if len(a.hooks.Publish) > 0 {
		a.hooks.OnPublish(hook.PublishEvent{Transport: b.caps.Name, Topic: o.Topic, Message: a.message, Outcome: r, Duration: time.Since(a.begun)})
	}
	if a.deadline.Release() && r.Err == nil {
		a.deadline.Context, a.message, a.done, a.batch[0] = nil, nil, nil, driver.Outgoing{}
		clear(a.headers)
		a.headers, a.key = a.headers[:0], a.key[:0]
		b.asyncPublications.Put(a)
	}
	done(r)
	b.calls.leave() // Shutdown waits until every outcome is reported
}
