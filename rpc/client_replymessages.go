package rpc

import (
	"context"
	"time"

	"google.golang.org/grpc/codes"

	"github.com/trunkline/trunkline/bus"
	"github.com/trunkline/trunkline/bus/codec"
	"github.com/trunkline/trunkline/rpc/frame"
	"github.com/trunkline/trunkline/rpc/internal/replytopic"
)

// deleteTimeout bounds the deletion of the reply topic when the last client closes.
const deleteTimeout = 5 * time.Second

// sendCancel sends a cancel message for a request that is on this partition. The message
// has no key: it must not wait behind the request that it cancels.
func (r *replyReader) sendCancel(c *Client, request *frame.Frame, partition int32) {
	m := newRecord()
	err := c.cfg.wire.Encode(&frame.Frame{Kind: frame.KindCancel, ID: request.ID, Caller: request.Caller, Topic: request.Topic,
		ReplyPartition: bus.AnyPartition, Attempt: request.Attempt}, m)
	if err != nil {
		return // the wire does not support cancel messages
	}
	m.Topic = request.Topic
	if c.keyed {
		m.Partition = partition
	}
	if r.sender.send(m) {
		c.counters.cancels.Add(1)
	}
}

// answerAlive answers a request that asks whether the reader still reads its topic.
func (r *replyReader) answerAlive(f *frame.Frame) {
	if !replytopic.Allowed(f.ReplyTo) {
		r.foreign.Add(1)
		return
	}
	m := newRecord()
	err := r.wire.Encode(&frame.Frame{Kind: frame.KindReply, ID: f.ID, Caller: f.Caller, Topic: f.ReplyTo, ReplyPartition: bus.AnyPartition,
		Attempt: f.Attempt, Server: r.id, ContentType: codec.Raw.ContentType()}, m)
	if err != nil {
		return // the caller gets no answer
	}
	m.Topic, m.Partition = f.ReplyTo, f.ReplyPartition
	r.sender.send(m)
}

// close waits for run, and deletes the topic unless it is shared.
func (r *replyReader) close(ctx context.Context) error {
	r.stop()
	r.sender.close()
	select {
	case <-r.ended:
	case <-ctx.Done():
		return newError(codes.DeadlineExceeded, "the reply reader did not end in time: topic "+r.topic+" remains", ctx.Err())
	}
	if r.shared || !r.bus.Capabilities().Topics {
		return nil
	}
	// A short outage of the broker must not leave the topic behind, so close tries again.
	ctx, cancel := context.WithTimeout(ctx, deleteTimeout)
	defer cancel()
	backoff := RetryPolicy{MinBackoff: 100 * time.Millisecond, MaxBackoff: time.Second}
	for attempt := 1; ; attempt++ {
		err := r.bus.DeleteTopic(ctx, r.topic)
		if err == nil {
			return nil
		}
		switch bus.CodeOf(err) {
		case bus.CodeNotFound, bus.CodeUnsupported:
			return nil // it does not exist, or this transport cannot delete topics
		case bus.CodeUnavailable:
			if sleep(ctx, backoff.pause(attempt)) {
				continue
			}
		}
		return busError("the reply topic was not deleted: ", err)
	}
}
