// Package replytopics finds and deletes reply topics whose clients have crashed.
//
// A client of package rpc creates a reply topic, and deletes it when it is closed. A client
// whose process crashes leaves its topic behind. `trunkline reply-topics clean` calls this
// package.
//
//	deleted, err := replytopics.Clean(ctx, b, time.Minute)
//
// # Semantics
//
// To find out whether a client is alive, the package publishes a request to its reply
// topic. The reader of the topic answers the request, even if it was disconnected when the
// request was published. If the reader has not answered within the timeout, the package
// reports the topic as not alive: the process of the client has crashed, or cannot reach
// the broker. Use a timeout that is longer than any outage that clients must survive.
// Before the package reports a topic as not alive, it checks that it can receive answers.
//
// # What it does not do
//
// It ignores shared reply topics (rpc.WithSharedReplies), and topics whose names do not have
// the form that package rpc gives them.
package replytopics

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"google.golang.org/grpc/codes"

	"github.com/trunkline/trunkline/bus"
	"github.com/trunkline/trunkline/internal/delivery"
	"github.com/trunkline/trunkline/rpc"
	"github.com/trunkline/trunkline/rpc/internal/replytopic"
)

// Topic is the reply topic of one client instance.
type Topic struct {
	// Name is the name of the topic.
	Name string
	// Client is the name of the client that created it (see rpc.WithName), and Instance the
	// random part of its id.
	Client, Instance string
	// Alive reports that the reader of the topic has answered.
	Alive bool
}

// Find returns the reply topics on the bus, sorted by name, and asks the reader of each
// whether it is alive. It waits up to timeout for answers. It returns an error with
// bus.CodeUnsupported if the transport cannot list topics, and an error with
// codes.Unavailable if it cannot receive answers.
func Find(ctx context.Context, b *bus.Bus, timeout time.Duration) ([]Topic, error) {
	c, err := rpc.NewClient(b, rpc.WithName("reply-topics"), rpc.WithReplyTopic(bus.TopicSpec{}), rpc.WithWaitForServer())
	if err != nil {
		return nil, err
	}
	found, err := find(ctx, b, c, timeout)
	return found, errors.Join(err, c.Close())
}

// Clean finds reply topics as [Find] does, and deletes those that are not alive. It returns
// the topics that it has deleted, also if it returns an error. If Find fails it deletes
// nothing.
//
// A client that was disconnected for longer than the timeout creates its topic again when
// it reconnects. The replies in the deleted topic are lost, and the calls that waited for
// them end at their deadlines.
func Clean(ctx context.Context, b *bus.Bus, timeout time.Duration) ([]Topic, error) {
	found, err := Find(ctx, b, timeout)
	if err != nil {
		return nil, err
	}
	var deleted []Topic
	for _, t := range found {
		if t.Alive {
			continue
		}
		if err := b.DeleteTopic(ctx, t.Name); err != nil {
			if bus.CodeOf(err) == bus.CodeNotFound {
				continue
			}
			return deleted, fmt.Errorf("replytopics: delete: %w", err)
		}
		deleted = append(deleted, t)
	}
	return deleted, nil
}

func find(ctx context.Context, b *bus.Bus, c *rpc.Client, timeout time.Duration) ([]Topic, error) {
	if err := c.Ready(ctx); err != nil {
		return nil, err
	}
	names, err := b.ListTopics(ctx)
	if err != nil {
		return nil, fmt.Errorf("replytopics: list the topics: %w", err)
	}
	slices.Sort(names)
	var found []Topic
	for _, name := range names {
		if client, instance, ok := replytopic.Parse(name); ok && name != c.ReplyTopic() {
			found = append(found, Topic{Name: name, Client: client, Instance: instance})
		}
	}
	if err := ask(ctx, c, found, timeout); err != nil {
		return nil, err
	}
	return slices.DeleteFunc(found, func(t Topic) bool { return t.Name == "" }), nil
}

// ask sets Alive. It clears the name of a topic that no longer exists.
func ask(ctx context.Context, c *rpc.Client, topics []Topic, timeout time.Duration) error {
	asking, cancel := context.WithCancel(delivery.ExistingTopic(ctx)) // asking must not create a topic
	defer cancel()
	calls := make([]*rpc.AsyncCall[[]byte], len(topics))
	for i, t := range topics {
		calls[i] = rpc.CallAsync[[]byte](asking, c, t.Name, replytopic.MethodAlive, []byte(nil), rpc.Timeout(timeout+time.Hour))
	}
	for _, a := range calls {
		_ = a.Sent(ctx) // the errors are read below; the timeout starts when all requests have been sent
	}
	bounded, stop := context.WithTimeout(ctx, timeout)
	defer stop()
	complete := true
	for _, a := range calls {
		if _, err := a.Reply(bounded); err != nil && bounded.Err() != nil {
			complete = false
		}
	}
	if !complete {
		if err := checkReceiving(ctx, c); err != nil {
			return err
		}
	}
	cancel()
	errs := make([]error, len(topics))
	for i, a := range calls {
		_, err := a.Reply(context.Background()) //nolint:contextcheck // the call's own context has ended, so it ends at once
		switch {
		case err == nil:
			topics[i].Alive = true
		case bus.CodeOf(err) == bus.CodeNotFound:
			topics[i].Name = ""
		case ctx.Err() == nil && rpc.CodeOf(err) == codes.Canceled && a.Sent(ctx) == nil: // the request was sent, and not answered within the timeout
		default:
			errs[i] = err
		}
	}
	return errors.Join(errs...)
}

// checkReceiving returns an error if the client cannot receive replies. It sends a request
// to the client's own reply topic. When the answer arrives, the client has received every
// answer that was published before it.
func checkReceiving(ctx context.Context, c *rpc.Client) error {
	_, err := rpc.CallAsync[[]byte](ctx, c, c.ReplyTopic(), replytopic.MethodAlive, []byte(nil), rpc.Timeout(30*time.Second)).Reply(ctx)
	if err != nil {
		return rpc.NewError(codes.Unavailable, fmt.Errorf("replytopics: cannot find out which clients are alive: %w", err))
	}
	return nil
}
