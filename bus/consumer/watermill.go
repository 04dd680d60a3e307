package consumer

import (
	"context"
	"fmt"

	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/trunkline/trunkline/bus"
)

// Watermill makes a handler of one that was written for watermill's Router, and of its
// middleware, the first outermost as with Router.AddMiddleware. Messages that it
// produces are an error: [WatermillPublisher] has a place for them.
//
// It is given a whole message, whose Ack and Nack count: one that it acknowledged
// itself is acknowledged whatever it returns, and one that it nacked is not. The
// message's context is the handler's. What a Router puts into the context, such as the
// handler's name, is not there.
func Watermill(h message.HandlerFunc, middleware ...message.HandlerMiddleware) bus.Handler {
	return watermillHandler(h, middleware, func(produced []*message.Message) error {
		return &bus.Error{Code: bus.CodeInvalidArgument, Op: "handle",
			Reason: fmt.Sprintf("the handler produced %d messages and has nowhere to publish them: use WatermillPublisher", len(produced))}
	})
}

// WatermillPublisher is Watermill with a publisher and a topic for the messages that the
// handler produces, all of them in one Publish. The handler's message is acknowledged
// when that has returned nil. A produced message without a context of its own gets the
// handler's.
func WatermillPublisher(pub message.Publisher, topic string, h message.HandlerFunc, middleware ...message.HandlerMiddleware) bus.Handler {
	return watermillHandler(h, middleware, func(produced []*message.Message) error {
		if err := pub.Publish(topic, produced...); err != nil {
			return fmt.Errorf("publish what the handler produced: %w", err)
		}
		return nil
	})
}

// WatermillNoPublish is Watermill for a handler that produces nothing.
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
				err = &bus.Error{Op: "handle", Topic: d.Record.Topic, Reason: "the message was nacked"}
			}
		default:
		}
		return err
	}
}
