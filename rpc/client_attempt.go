package rpc

import (
	"context"
	"strconv"
	"strings"
	"time"

	"google.golang.org/grpc/codes"

	"github.com/trunkline/trunkline/bus"
	"github.com/trunkline/trunkline/rpc/frame"
)

// send makes attempts until one succeeds, or fails and must not be retried. The
// interceptors wrap it.
func (c *Client) send(ctx context.Context, req *Request) (*Response, error) {
	if req.settings == nil { // an interceptor has replaced the Request
		s := newSettings()
		s.begun = time.Now()
		req.settings = &s
	}
	policy := req.settings.retry
	id := c.newID()
	for attempt := 1; ; attempt++ {
		resp, timedOut, err := c.attempt(ctx, req, id, attempt)
		if err == nil {
			resp.Attempts = attempt
			return resp, nil
		}
		if !timedOut && !policy.retries(attempt, err) || ctx.Err() != nil {
			return nil, err
		}
		pause := time.Duration(0)
		if !timedOut {
			pause = policy.pause(attempt)
		}
		if d, ok := ctx.Deadline(); ok && time.Until(d) <= pause {
			return nil, err // more useful than an error that only reports the deadline
		}
		c.counters.retries.Add(1)
		if policy.OnRetry != nil {
			policy.OnRetry(RetryEvent{Topic: req.Topic, Method: req.Method, Attempt: attempt, Err: err.of(req.Method, req.Topic), Pause: pause})
		}
		if !sleep(ctx, pause) {
			return nil, c.contextError(ctx, "the call ended before its next attempt")
		}
	}
}

// newID returns the id of a call. It begins with c.idPrefix, by which complete recognizes
// the replies to this client.
func (c *Client) newID() string {
	var buf [64]byte
	return string(strconv.AppendUint(append(buf[:0], c.idPrefix...), c.seq.Add(1), 36))
}

// attempt sends the request once and waits for its result. timedOut reports that the
// AttemptTimeout of the retry policy ended it.
func (c *Client) attempt(ctx context.Context, req *Request, id string, attempt int) (resp *Response, timedOut bool, failure *Error) {
	s := req.settings
	if s.kind != forOutcome {
		if err := c.reader.wait(ctx, c.closing); err != nil {
			return nil, false, err
		}
	}
	p := c.newPendingCall(id, attempt, s)
	defer p.release()
	err := c.encode(ctx, req, p)
	if err == nil && s.kind != forOutcome {
		err = c.checkServed(ctx, req.Topic)
	}
	if err == nil {
		err = c.pending.add(p)
	}
	if err != nil {
		p.release() // nothing is published, so there will be no outcome
		return nil, false, err
	}
	bounded := ctx
	if limit := s.retry.attemptTimeout(attempt); limit > 0 && s.kind == forReply {
		short, cancel := context.WithTimeout(ctx, limit)
		defer cancel()
		bounded = short
	}
	c.bus.PublishRecord(bounded, p.record, p.published)
	if p.progress != nil {
		p.progress.markSubmitted()
	}
	if p.gather != nil {
		resp, err := c.gather(ctx, p)
		return resp, false, err
	}
	r, ok := c.await(bounded, p)
	if !ok && c.pending.abandon(p) {
		r.err = c.contextError(bounded, "no reply arrived before the call ended")
		if r.err.Code() == codes.Canceled {
			p.cancel()
		}
	} else if !ok {
		r = <-p.done // another goroutine was ending p when the context ended
	}
	expired := bounded != ctx && bounded.Err() != nil && ctx.Err() == nil
	return r.resp, expired && r.err != nil && !r.err.remote, r.err
}

// encode makes the request of p and its record.
func (c *Client) encode(ctx context.Context, req *Request, p *pendingCall) *Error {
	s := req.settings
	deadline, _ := ctx.Deadline()
	p.request = frame.Frame{
		Kind: frame.KindRequest, ID: p.id, Method: req.Method, Caller: c.id, ReplyPartition: bus.AnyPartition,
		Topic: req.Topic, Key: req.Key, Deadline: deadline, Attempt: p.attempt, IdempotencyKey: s.idempotency,
		ContentType: req.ContentType, Metadata: req.Metadata, Body: req.Body,
	}
	f := &p.request
	if s.kind != forOutcome {
		f.ReplyTo, f.ReplyPartition = c.reader.topic, c.reader.partition.Load()
	}
	if s.kind == forReplies {
		f.Server = frame.AnyServer
	}
	if f.Key == "" && s.retry != nil && c.keyed {
		f.Key = p.id // sends all attempts to one partition
	}
	if err := c.cfg.wire.Encode(f, p.record); err != nil {
		return newError(codes.InvalidArgument, "encode the request: "+statusOf(err).Message(), err)
	}
	p.record.Topic, p.record.Partition = req.Topic, s.partition
	return nil
}

// complete ends the call that f answers. err is the error from decoding f, or nil.
func (c *Client) complete(f *frame.Frame, err error) {
	if f.Kind != frame.KindReply && f.Kind != 0 || !strings.HasPrefix(f.ID, c.idPrefix) {
		c.counters.foreign.Add(1)
		return
	}
	if err != nil {
		c.counters.undecodable.Add(1)
	}
	switch p, g, late := c.pending.match(f); {
	case g != nil:
		if !g.push(resultOf(f, err)) {
			c.counters.duplicate.Add(1)
		}
	case p != nil:
		p.done <- resultOf(f, err)
	case err != nil: // counted above
	case late:
		c.counters.late.Add(1)
	default:
		c.counters.duplicate.Add(1)
	}
}
