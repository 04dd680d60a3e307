package bus

import (
	"context"
	"maps"

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

// tracePublish tells the tracers that the message is about to be handed over. If they
// have headers for it a copy goes out instead: the message is the caller's.
func (b *Bus) tracePublish(out *driver.Outgoing) {
	if len(b.cfg.hooks.publishes) == 0 {
		return
	}
	sink := &tracedSink{Sink: out.Sink}
	var headers map[string]string
	for _, t := range b.cfg.hooks.publishes {
		h, end := t.StartPublish(out.Message.Context(), b.caps.Name, out.Topic, out.Message)
		if end != nil {
			sink.ends = append(sink.ends, end)
		}
		if headers == nil {
			headers = h
		} else {
			maps.Copy(headers, h)
		}
	}
	out.Sink = sink
	if len(headers) > 0 {
		m := out.Message.Copy()
		m.SetContext(out.Message.Context())
		maps.Copy(m.Metadata, headers)
		out.Message = m
	}
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
