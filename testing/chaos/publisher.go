package chaos

import (
	"context"
	"errors"

	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/trunkline/trunkline/bus"
	"github.com/trunkline/trunkline/bus/hook"
)

// publish publishes batches until ctx ends. The contexts of the messages never end, so that Publish
// returns every outcome. Each Publish ends at the default delivery time-out at the latest.
func (r *Run) publish(ctx context.Context, b *bus.Bus, keys []string) {
	numbers := make([]int64, len(keys))
	for next := 0; ctx.Err() == nil; {
		batch := make([]*message.Message, r.load.Batch)
		names := make([]Message, r.load.Batch)
		events := make([]Event, r.load.Batch)
		for i := range batch {
			k := next % len(keys)
			next++
			numbers[k]++
			names[i] = Message{keys[k], numbers[k]}
			batch[i] = message.NewMessage(names[i].String(), payload(names[i]))
			bus.SetKey(batch[i], keys[k])
			events[i] = Event{Kind: Published, Message: names[i], Place: noPlace}
		}
		r.history.record(events...)
		if err := b.Publish(r.load.Topic, batch...); err != nil {
			r.recordFailures(names, err)
		}
		sleep(ctx, r.load.Pause)
	}
}

// noPlace is the place of a message that is not in the log.
var noPlace = Place{-1, -1}

// recordFailures records the messages of a batch that failed or whose outcome is unknown. OnPublish
// records the others.
func (r *Run) recordFailures(names []Message, err error) {
	outcomes := make([]bus.Outcome, len(names))
	for i := range outcomes {
		outcomes[i].Err = err
	}
	if each, ok := errors.AsType[*bus.PublishError](err); ok {
		outcomes = each.Outcomes
	}
	for i, o := range outcomes {
		if o.Err == nil {
			continue
		}
		kind := Failed
		if c := bus.CodeOf(o.Err); c == bus.CodeOutcomeUnknown || c == bus.CodeUnknown {
			kind = Unknown
		}
		r.history.record(Event{Kind: kind, Message: names[i], Place: noPlace})
		r.progress.addError("publish", o.Err)
	}
}

// publishHook records the messages that were acknowledged.
type publishHook struct{ run *Run }

// OnPublish implements [hook.Publish].
func (h publishHook) OnPublish(e hook.PublishEvent) {
	if e.Outcome.Err != nil {
		return // recordFailures records it
	}
	m, err := parse(e.Message.Payload)
	if err != nil {
		h.run.progress.addError("hook", err)
		return
	}
	h.run.history.record(Event{Kind: Acknowledged, Message: m, Place: Place{e.Outcome.Partition, e.Outcome.Offset}})
	h.run.progress.addAcknowledged(e.Outcome.Partition)
}
