package chaos

import (
	"context"
	"errors"

	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/trunkline/trunkline/bus"
)

// publish is one publisher's work, until ctx ends. It publishes under contexts without
// an end, so that the default delivery time-out decides, and always learns the outcome.
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
			events[i] = Event{Kind: Published, Message: names[i], Place: nowhere}
		}
		r.history.record(events...)
		if err := b.Publish(r.load.Topic, batch...); err != nil {
			r.told(names, err)
		}
		rest(ctx, r.load.Pace)
	}
}

// nowhere is the place of what has none.
var nowhere = Place{-1, -1}

// told records what a publisher was told of messages that were not all acknowledged.
// Those that were have been recorded by OnPublish.
func (r *Run) told(names []Message, err error) {
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
		r.history.record(Event{Kind: kind, Message: names[i], Place: nowhere})
		r.tally.failed("publish", o.Err)
	}
}

// outcomes is the publishing bus's hook.
type outcomes struct{ run *Run }

// OnPublish implements [bus.PublishHook].
func (o outcomes) OnPublish(e bus.PublishEvent) {
	if e.Outcome.Err != nil {
		return // the publisher records what it was told
	}
	m, err := parse(e.Message.Payload)
	if err != nil {
		o.run.tally.failed("hook", err)
		return
	}
	o.run.history.record(Event{Kind: Acknowledged, Message: m, Place: Place{e.Outcome.Partition, e.Outcome.Offset}})
	o.run.tally.acknowledged(e.Outcome.Partition)
}
