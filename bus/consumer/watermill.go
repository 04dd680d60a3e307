package consumer

import (
	"context"
	"fmt"

	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/trunkline/trunkline/bus"
)

// Watermill makes a bus.Handler from a handler and middleware of watermill's Router. The
// first middleware is the outermost, as with Router.AddMiddleware. The handler returns an
// error if h produces messages; use [WatermillPublisher] to publish them.
//
// h gets a watermill message on which Ack and Nack have an effect: after Ack the message is
// acknowledged, whatever h returns; after Nack it is not acknowledged. The context of the
// message is the context of the handler. It does not have the values that a Router adds, such as
// the name of the handler.
func Watermill(h message.HandlerFunc, middleware ...message.HandlerMiddleware) bus.Handler {
	return watermillHandler(h, middleware, func(produced []*message.Message) error {
		return &bus.Error{Code: bus.CodeInvalidArgument, Op: "handle",
			Reason: fmt.Sprintf("the handler produced %d messages and there is no publisher: use WatermillPublisher", len(produced))}
	})
}

// WatermillPublisher is [Watermill] for a handler that produces messages. The returned handler
// publishes the messages of one call to the topic with one Publish. It acknowledges the handled
// message after Publish has returned nil. A produced message without a context gets the context
// of the handler.
func WatermillPublisher(pub message.Publisher, topic string, h message.HandlerFunc, middleware ...message.HandlerMiddleware) bus.Handler {
	return watermillHandler(h, middleware, func(produced []*message.Message) error {
		if err := pub.Publish(topic, produced...); err != nil {
			return fmt.Errorf("consumer: publish the produced messages to %q: %w", topic, err)
		}
		return nil
	})
}

// WatermillNoPublish is [Watermill] for a handler that produces no messages.
func WatermillNoPublish(h message.NoPublishHandlerFunc, middleware ...message.HandlerMiddleware) bus.Handler {
	return Watermill(func(m *message.Message) ([]*message.Message, error) { return nil, h(m) }, middleware...)
}

func watermillHandler(h message.HandlerFunc, middleware []message.HandlerMiddleware, publish func([]*message.Message) error) bus.Handler {
	for i := len(middleware) - 1; i >= 0; i-- {
		h = middleware[i](h)
	}
	return func(ctx context.Context, d *bus.Delivery) error {
		m := d.Message()
		m.SetContext(ctx)
		produced, err := h(m)
		if err == nil && len(produced) > 0 {
			for _, p := range produced {
				if p != nil && p.Context() == context.Background() {
					p.SetContext(ctx)
				}
			}
			err = publish(produced)
		}
		select {
		case <-m.Acked():
			return nil
		default:
		}
		select {
		case <-m.Nacked():
			if err == nil {
				err = &bus.Error{Op: "handle", Topic: d.Record.Topic, Reason: "the handler called Nack"}
			}
		default:
		}
		return err
	}
}
