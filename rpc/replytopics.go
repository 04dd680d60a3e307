package rpc

import (
	"context"
	"errors"
	"slices"
	"time"

	"google.golang.org/grpc/codes"

	"github.com/trunkline/trunkline/bus"
	"github.com/trunkline/trunkline/bus/codec"
	"github.com/trunkline/trunkline/internal/delivery"
)

// methodAlive asks whoever reads a reply topic whether it does. It is served on reply
// topics, by their readers.
const methodAlive = "trunkline.alive"

// InstanceReplyTopic is the reply topic of an instance, alive or not.
type InstanceReplyTopic struct {
	// Topic is its name, Client that of the client that made it, Instance its random
	// part.
	Topic, Client, Instance string
	// Alive says that somebody reads the topic, and has answered.
	Alive bool
}

// FindReplyTopics returns the reply topics that clients on the bus's transport have
// made, sorted, and asks the reader of each whether it is there: a record in the topic,
// which a live reader answers even when it was away for a moment. Who has not answered
// within patience is reported as not alive: its process has crashed, or can't reach the
// broker. Give it longer than any outage that clients are to survive.
//
// Shared reply topics, and those of programs that choose their names by another rule,
// are not among them. Before it reports anybody as not alive it makes sure that it could
// have heard an answer; if not it fails. codes.Unimplemented where topics can't be listed.
func FindReplyTopics(ctx context.Context, b *bus.Bus, patience time.Duration) ([]InstanceReplyTopic, error) {
	c, err := NewClient(b, Name("reply-topics"), ReplyTopic(bus.TopicSpec{}), WaitForServer())
	if err != nil {
		return nil, err
	}
	found, err := c.findReplyTopics(ctx, patience)
	return found, errors.Join(err, c.Close())
}

// CleanReplyTopics finds reply topics as FindReplyTopics does and deletes those that
// nobody reads. It returns what it deleted, with the error too. It deletes
// nothing unless it could have heard of every reader. An instance that was cut off for
// longer than patience makes its topic again when it comes back; what was in it is lost,
// and the calls that waited for that end at their deadlines.
func CleanReplyTopics(ctx context.Context, b *bus.Bus, patience time.Duration) ([]InstanceReplyTopic, error) {
	found, err := FindReplyTopics(ctx, b, patience)
	if err != nil {
		return nil, err
	}
	var deleted []InstanceReplyTopic
	for _, t := range found {
		if t.Alive {
			continue
		}
		if err := b.DeleteTopic(ctx, t.Topic); err != nil {
			if bus.CodeOf(err) == bus.CodeNotFound {
				continue
			}
			return deleted, newError(publishError(err).Code(), "can't delete a reply topic: "+err.Error(), err)
		}
		deleted = append(deleted, t)
	}
	return deleted, nil
}

func (c *Client) findReplyTopics(ctx context.Context, patience time.Duration) ([]InstanceReplyTopic, error) {
	if err := c.Ready(ctx); err != nil {
		return nil, err
	}
	names, err := c.bus.ListTopics(ctx)
	if err != nil {
		return nil, newError(publishError(err).Code(), "can't list the topics: "+err.Error(), err)
	}
	var found []InstanceReplyTopic
	for _, name := range names {
		if part := instanceTopic.FindStringSubmatch(name); part != nil && name != c.reader.topic {
			found = append(found, InstanceReplyTopic{Topic: name, Client: part[1], Instance: part[2]})
		}
	}
	if err := c.ask(ctx, found, patience); err != nil {
		return nil, err
	}
	return slices.DeleteFunc(found, func(t InstanceReplyTopic) bool { return t.Topic == "" }), nil
}

// ask finds out who is alive. A topic that is gone by now loses its name.
func (c *Client) ask(ctx context.Context, topics []InstanceReplyTopic, patience time.Duration) error {
	asking, cancel := context.WithCancel(delivery.ExistingTopic(ctx)) // which must not bring a topic back
	defer cancel()
	calls := make([]*AsyncCall[[]byte], len(topics))
	for i, t := range topics {
		calls[i] = CallAsync[[]byte](asking, c, t.Topic, methodAlive, []byte(nil), Timeout(patience+time.Hour))
	}
	for _, a := range calls {
		_ = a.Sent(ctx) // judged below: patience begins when all have been asked
	}
	patient, stop := context.WithTimeout(ctx, patience)
	defer stop()
	heard := true
	for _, a := range calls {
		if _, err := a.Reply(patient); err != nil && patient.Err() != nil {
			heard = false
		}
	}
	if !heard {
		if err := c.hearsItself(ctx); err != nil {
			return err
		}
	}
	cancel()
	errs := make([]error, len(topics))
	for i, a := range calls {
		_, err := a.Reply(context.Background()) // it has ended, or is about to
		e, _ := errors.AsType[*Error](err)
		switch {
		case err == nil:
			topics[i].Alive = true
		case bus.CodeOf(err) == bus.CodeNotFound:
			topics[i].Topic = ""
		case ctx.Err() == nil && e.Code() == codes.Canceled && a.Sent(ctx) == nil: // it had its time
		default:
			errs[i] = err
		}
	}
	return errors.Join(errs...)
}

// hearsItself makes sure that replies are received: with its own answer every one that
// was published before has been read.
func (c *Client) hearsItself(ctx context.Context) error {
	_, err := CallAsync[[]byte](ctx, c, c.reader.topic, methodAlive, []byte(nil), Timeout(30*time.Second)).Reply(ctx)
	if err != nil {
		return newError(codes.Unavailable, "whether the readers of the reply topics are alive can't be known: "+err.Error(), err)
	}
	return nil
}

// answerAlive answers somebody who asks whether this reader is there.
func (r *replyReader) answerAlive(f *Frame) {
	if !isReplyTopic(f.ReplyTo) {
		r.foreign.Add(1)
		return
	}
	m := newRecord()
	err := r.wire.Encode(&Frame{Kind: KindReply, ID: f.ID, Caller: f.Caller, Topic: f.ReplyTo, ReplyPartition: AnyPartition,
		Attempt: f.Attempt, Server: r.id, ContentType: codec.Raw.ContentType()}, m)
	if err != nil {
		return // its caller sees that nobody answers
	}
	m.Topic, m.Partition = f.ReplyTo, f.ReplyPartition
	r.notices.send(m)
}
