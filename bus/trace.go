package bus

import (
	"context"
	"slices"

	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/trunkline/trunkline/bus/driver"
)

// tracedSink tells the tracers the outcome before the caller is told.
type tracedSink struct {
	driver.Sink
	ends []func(Outcome)
}

// Published is the transport's call.
func (s *tracedSink) Published(o *driver.Outgoing, r Outcome) {
	for i := len(s.ends) - 1; i >= 0; i-- {
		s.ends[i](r)
	}
	s.Sink.Published(o, r)
}

// tracePublish tells the tracers that the message is about to be handed over. Headers
// they have for it take the place of the message's own of these names.
func (b *Bus) tracePublish(ctx context.Context, out *driver.Outgoing, m *message.Message) {
	if len(b.cfg.hooks.publishes) == 0 {
		return
	}
	sink := &tracedSink{Sink: out.Sink}
	var added []Header
	for _, t := range b.cfg.hooks.publishes {
		headers, end := t.StartPublish(ctx, b.caps.Name, out.Topic, m)
		if end != nil {
			sink.ends = append(sink.ends, end)
		}
		for k, v := range headers {
			added = withHeader(added, Header{Key: k, Value: v})
		}
	}
	out.Sink = sink
	if len(added) > 0 {
		headers := slices.Clone(out.Headers)
		for _, h := range added {
			headers = withHeader(headers, h)
		}
		out.Headers = headers
	}
}

// tracedContext returns the context that tracers get for an asynchronous publish: the
// caller's, and the message's for values that the caller's context does not have.
func (b *Bus) tracedContext(ctx context.Context, m *message.Message) context.Context {
	if len(b.cfg.hooks.publishes) == 0 || m.Context() == context.Background() {
		return ctx
	}
	return mergedValues{ctx, m.Context()}
}

// mergedValues looks values up in the embedded context, and then in message.
type mergedValues struct {
	context.Context
	message context.Context
}

func (c mergedValues) Value(key any) any {
	if v := c.Context.Value(key); v != nil {
		return v
	}
	return c.message.Value(key)
}

// withHeader appends h to all, of which those of its name are taken out.
func withHeader(all []Header, h Header) []Header {
	return append(slices.DeleteFunc(all, func(x Header) bool { return x.Key == h.Key }), h)
}

// traceDelivery tells the tracers that the handler is about to be called, and returns
// the handler's context and what is to be told its result.
func (h *hooks) traceDelivery(ctx context.Context, transport, group string, d *Delivery) (context.Context, func(error)) {
	if len(h.deliveries) == 0 {
		return ctx, func(error) {}
	}
	var ends []func(error)
	for _, t := range h.deliveries {
		inner, end := t.StartDelivery(ctx, transport, group, d)
		ctx = inner
		if end != nil {
			ends = append(ends, end)
		}
	}
	return ctx, func(err error) {
		for i := len(ends) - 1; i >= 0; i-- {
			ends[i](err)
		}
	}
}
