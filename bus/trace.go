package bus

import (
	"context"
	"slices"

	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/trunkline/trunkline/bus/driver"
	"github.com/trunkline/trunkline/internal/delivery"
)

// tracedSink reports an outcome to the tracers, and then to the caller.
type tracedSink struct {
	driver.Sink
	ends []func(Outcome)
}

// Published implements driver.Sink.
func (s *tracedSink) Published(o *driver.Outgoing, r Outcome) {
	for i := len(s.ends) - 1; i >= 0; i-- {
		s.ends[i](r)
	}
	s.Sink.Published(o, r)
}

// tracePublish calls the tracers, and adds their headers to out. They replace headers of the
// message with the same names. It must be called before out is passed to the transport.
func (b *Bus) tracePublish(ctx context.Context, hooks *delivery.Hooks, out *driver.Outgoing, m *message.Message) {
	if len(hooks.PublishTracers) == 0 {
		return
	}
	sink := &tracedSink{Sink: out.Sink}
	var added []Header
	for _, t := range hooks.PublishTracers {
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

// withHeader removes the headers with the name of h from all, and appends h.
func withHeader(all []Header, h Header) []Header {
	return append(slices.DeleteFunc(all, func(x Header) bool { return x.Key == h.Key }), h)
}

// tracedContext returns the context that tracers get for an asynchronous publish: the context of
// the caller, with those values of the message's context that it does not have itself.
func tracedContext(ctx context.Context, hooks *delivery.Hooks, m *message.Message) context.Context {
	if len(hooks.PublishTracers) == 0 || m.Context() == context.Background() {
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
