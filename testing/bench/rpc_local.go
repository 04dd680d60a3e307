package main

import (
	"context"
	"errors"
	"strconv"
	"sync"
	"time"

	"github.com/ThreeDotsLabs/watermill"
	"github.com/ThreeDotsLabs/watermill/components/cqrs"
	"github.com/ThreeDotsLabs/watermill/components/requestreply"
	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/ThreeDotsLabs/watermill/pubsub/gochannel"

	"github.com/trunkline/trunkline/bus"
	_ "github.com/trunkline/trunkline/transport/gochannel" // for chan:// URLs
	"github.com/trunkline/trunkline/transport/memory"
)

// callTimeout is the deadline of every call.
const callTimeout = 30 * time.Second

func ourMemories(*env) (client, server *bus.Bus, err error) {
	log, err := memory.NewLog()
	if err != nil {
		return nil, nil, err
	}
	open := func() (*bus.Bus, error) {
		t, err := memory.New(memory.WithLog(log))
		if err != nil {
			return nil, err
		}
		return bus.New(t)
	}
	client, err = open()
	if err == nil {
		server, err = open()
	}
	return client, server, err
}

// ourChannels opens two buses on the same named transport.
func ourChannels(e *env) (client, server *bus.Bus, err error) {
	url := "chan://" + e.name("rpc")
	client, err = bus.Open(context.Background(), url)
	if err == nil {
		server, err = bus.Open(context.Background(), url)
	}
	return client, server, err
}

func ourKafkas(e *env) (client, server *bus.Bus, err error) {
	client, err = ourKafka(e, &dialer{})
	if err == nil {
		server, err = ourKafka(e, &dialer{})
	}
	return client, server, err
}

type channelRequest struct {
	id   uint64
	body []byte
}

func openChannels(context.Context, *env) (caller, func() error, error) {
	requests, replies := make(chan channelRequest, 256), make(chan channelRequest, 256)
	waiting := newPendings()
	var ended sync.WaitGroup
	ended.Go(func() {
		for r := range requests {
			replies <- r
		}
		close(replies)
	})
	ended.Go(func() {
		for r := range replies {
			waiting.end(r.id, r.body)
		}
	})
	return func(ctx context.Context, body []byte) ([]byte, error) {
			return waiting.call(ctx, func(id uint64) error { requests <- channelRequest{id, body}; return nil })
		}, func() error {
			close(requests)
			ended.Wait()
			return nil
		}, nil
}

// The metadata of the hand-written muxes.
const (
	headerID       = "id"
	headerReplyTo  = "reply-to"
	headerDeadline = "deadline"
)

func deadline() string {
	return strconv.FormatInt(time.Now().Add(callTimeout).UnixNano(), 10)
}

// openWatermillMux is a hand-written mux on watermill's gochannel, in the mode that keeps the order and
// bounds the messages in flight.
func openWatermillMux(ctx context.Context, _ *env) (caller, func() error, error) {
	g := gochannel.NewGoChannel(gochannel.Config{OutputChannelBuffer: 256, BlockPublishUntilSubscriberAck: true}, watermill.NopLogger{})
	requests, err := g.Subscribe(ctx, "requests")
	if err != nil {
		return nil, nil, err
	}
	replies, err := g.Subscribe(ctx, "replies")
	if err != nil {
		return nil, nil, err
	}
	waiting := newPendings()
	failed := make(chan error, 1)
	var ended sync.WaitGroup
	ended.Go(func() {
		for m := range requests {
			reply := message.NewMessage(m.UUID, m.Payload)
			reply.Metadata[headerID] = m.Metadata[headerID]
			if err := g.Publish(m.Metadata[headerReplyTo], reply); err != nil {
				select {
				case failed <- err:
				default: // keep the first error only
				}
			}
			m.Ack()
		}
	})
	ended.Go(func() {
		for m := range replies {
			if id, err := strconv.ParseUint(m.Metadata[headerID], 10, 64); err == nil {
				waiting.end(id, m.Payload)
			}
			m.Ack()
		}
	})
	call := func(ctx context.Context, body []byte) ([]byte, error) {
		return waiting.call(ctx, func(id uint64) error {
			m := message.NewMessage(uuid, body)
			m.Metadata[headerID] = strconv.FormatUint(id, 10)
			m.Metadata[headerReplyTo] = "replies"
			m.Metadata[headerDeadline] = deadline()
			return g.Publish("requests", m)
		})
	}
	return call, func() error {
		err := g.Close()
		ended.Wait()
		select {
		case failure := <-failed:
			return errors.Join(err, failure)
		default:
			return err
		}
	}, nil
}

type echoCommand struct{ Body []byte }

// openRequestReply is watermill's own component, with a reply topic for each call, which is the faster of
// its two modes.
func openRequestReply(ctx context.Context, _ *env) (caller, func() error, error) {
	logger := watermill.NopLogger{}
	g := gochannel.NewGoChannel(gochannel.Config{}, logger)
	timeout := callTimeout
	backend, err := requestreply.NewPubSubBackend(requestreply.PubSubBackendConfig{
		Publisher: g,
		SubscriberConstructor: func(requestreply.PubSubBackendSubscribeParams) (message.Subscriber, error) {
			return g, nil
		},
		GeneratePublishTopic: func(p requestreply.PubSubBackendPublishParams) (string, error) {
			return "replies-" + string(p.OperationID), nil
		},
		GenerateSubscribeTopic: func(p requestreply.PubSubBackendSubscribeParams) (string, error) {
			return "replies-" + string(p.OperationID), nil
		},
		ListenForReplyTimeout: &timeout,
	}, requestreply.BackendPubsubJSONMarshaler[echoCommand]{})
	if err != nil {
		return nil, nil, err
	}
	router, err := message.NewRouter(message.RouterConfig{}, logger)
	if err != nil {
		return nil, nil, err
	}
	marshaler := cqrs.JSONMarshaler{}
	commands, err := cqrs.NewCommandBusWithConfig(g, cqrs.CommandBusConfig{
		GeneratePublishTopic: func(cqrs.CommandBusGeneratePublishTopicParams) (string, error) { return "requests", nil },
		Marshaler:            marshaler,
	})
	if err != nil {
		return nil, nil, err
	}
	processor, err := cqrs.NewCommandProcessorWithConfig(router, cqrs.CommandProcessorConfig{
		GenerateSubscribeTopic: func(cqrs.CommandProcessorGenerateSubscribeTopicParams) (string, error) { return "requests", nil },
		SubscriberConstructor:  func(cqrs.CommandProcessorSubscriberConstructorParams) (message.Subscriber, error) { return g, nil },
		Marshaler:              marshaler,
	})
	if err != nil {
		return nil, nil, err
	}
	err = processor.AddHandlers(requestreply.NewCommandHandlerWithResult("echo", backend,
		func(_ context.Context, c *echoCommand) (echoCommand, error) { return *c, nil }))
	if err != nil {
		return nil, nil, err
	}
	ran := make(chan error, 1)
	go func() { ran <- router.Run(ctx) }()
	select {
	case <-router.Running():
	case err := <-ran:
		return nil, nil, err
	}
	call := func(ctx context.Context, body []byte) ([]byte, error) {
		reply, err := requestreply.SendWithReply(ctx, commands, backend, &echoCommand{body})
		if err != nil {
			return nil, err
		}
		return reply.HandlerResult.Body, reply.Error
	}
	return call, func() error { return errors.Join(router.Close(), <-ran, g.Close()) }, nil
}
