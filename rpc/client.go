package rpc

import (
	"context"
	"crypto/rand"
	"errors"
	"maps"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc/codes"

	"github.com/trunkline/trunkline/bus"
	"github.com/trunkline/trunkline/bus/codec"
)

// closeTimeout bounds Client.Close.
const closeTimeout = 10 * time.Second

// Client makes calls. All methods, and Call and its like, are safe for concurrent use.
//
// The clients of one bus share one reply topic and one reader of it, so that many
// clients in a process cost neither connections nor topics; the last one that is
// closed deletes the topic. See [ReplyTopic] and [SharedReplies] for other addresses.
type Client struct {
	bus      *bus.Bus
	cfg      clientConfig
	id       string // "<name>.<instance>", unique
	prefix   string // of the ids of its calls
	keyed    bool   // keys pick partitions
	invoke   Func
	calls    *calls
	reader   *replyReader
	seq      atomic.Uint64
	counters clientCounters

	// What calls use again; the client's own, so that a test's clock owns the timers.
	timers sync.Pool // of *time.Timer
	idle   sync.Pool // of *pending

	watching watching // of servers' announcements, for FailFast

	// closing ends with the client: nobody waits for room or back-off any more.
	closing    context.Context
	background background
	close      func() error
}

// NewClient returns a client on b, which it does not take over: close the client
// first. It does not wait for a broker: the reply topic is created, and its reader
// made ready, in the background, again and again until it works; a call waits for
// that within its own context.
func NewClient(b *bus.Bus, opts ...ClientOption) (*Client, error) {
	if b == nil {
		return nil, invalidOption("the bus is nil")
	}
	cfg := clientConfig{config: defaultConfig(), name: "client", timeout: 30 * time.Second, maxPending: 65536}
	for _, o := range opts {
		if err := o.applyClient(&cfg); err != nil {
			return nil, err
		}
	}
	for _, o := range cfg.calls {
		s := newSettings()
		if o(&s); s.err != nil {
			return nil, s.err
		}
	}
	caps := b.Capabilities()
	if err := cfg.checkReplies(caps); err != nil {
		return nil, err
	}
	instance := newInstance()
	c := &Client{bus: b, cfg: cfg, id: cfg.name + "." + instance, prefix: instance + "-", calls: newCalls(cfg.maxPending)}
	c.keyed = caps.Keys && caps.Partitions
	c.invoke = chain(c.send, cfg.interceptors)
	closing, cancel := context.WithCancelCause(context.Background())
	c.closing = closing
	c.reader = acquireReader(c)
	c.close = sync.OnceValue(func() error {
		c.calls.close(errClosed)
		cancel(errClosed)
		c.background.close()
		ctx, stop := context.WithTimeout(context.Background(), closeTimeout)
		defer stop()
		return errors.Join(c.watching.close(ctx), c.reader.release(ctx, c))
	})
	return c, nil
}

// newInstance returns a name that nobody else has.
func newInstance() string { return strings.ToLower(rand.Text()) }

var errClosed = &Error{st: newError(codes.Unavailable, "the client is closed", nil).st, terminal: true}

// ID returns the id of this instance, which servers know as the caller.
func (c *Client) ID() string { return c.id }

// ReplyTopic returns the topic that replies to this client go to.
func (c *Client) ReplyTopic() string { return c.reader.topic }

// Ready waits until replies can be received, or ctx ends: then it says why not yet.
// Calls do that by themselves.
func (c *Client) Ready(ctx context.Context) error {
	if c.closing.Err() != nil {
		return errClosed
	}
	if err := c.reader.wait(ctx, c.closing); err != nil {
		return err
	}
	return nil
}

// Close ends every pending call with codes.Unavailable at once, and every later one.
// The last client of a reply topic stops its reader too, and deletes the topic where
// topics are created. Servers are not told that the calls have ended.
// It is idempotent, takes at most about ten seconds, and fails with what it could not
// do: then the reply topic may be left behind.
func (c *Client) Close() error { return c.close() }

// Invoke makes a call with an encoded body; [Call] is the typed form. The options'
// Key, and their headers, are added to req, which is not changed. Every error is an
// *Error.
func (c *Client) Invoke(ctx context.Context, req *Request, opts ...CallOption) (*Response, error) {
	if req == nil {
		return nil, invalidOption("the request is nil")
	}
	x := &outgoingCall{settings: newSettings(), req: *req}
	if err := c.configure(x, opts); err != nil {
		return nil, err.of(req.Method, req.Topic)
	}
	return c.call(ctx, x)
}

// outgoingCall is what one call needs on its way out, in one allocation.
type outgoingCall struct {
	settings callSettings
	ctx      lazyContext
	req      Request
}

// outgoing prepares a typed call.
func (c *Client) outgoing(topic, method string, req any, opts []CallOption) (*outgoingCall, error) {
	x := &outgoingCall{settings: newSettings()}
	if err := c.configure(x, opts); err != nil {
		return nil, err.of(method, topic)
	}
	enc := x.settings.codec
	if enc == nil {
		enc = codec.For(req)
	}
	body, err := enc.Marshal(req)
	if err != nil {
		return nil, newError(codes.InvalidArgument, "the request can't be encoded: "+err.Error(), err).of(method, topic)
	}
	x.req = Request{Topic: topic, Method: method, ContentType: enc.ContentType(), Body: body}
	return x, nil
}

func (c *Client) configure(x *outgoingCall, opts []CallOption) *Error {
	s := &x.settings
	for _, o := range c.cfg.calls {
		o(s)
	}
	for _, o := range opts {
		o(s)
	}
	if s.err == nil && s.partition >= 0 && !c.bus.Capabilities().Partitions {
		return invalidOption("this transport's topics have no partitions: leave Partition out")
	}
	return s.err
}

// call runs the interceptors under the call's deadline.
func (c *Client) call(parent context.Context, x *outgoingCall) (*Response, error) {
	c.counters.calls.Add(1)
	req, s, ctx := &x.req, &x.settings, &x.ctx
	req.settings = s
	if s.key != "" {
		req.Key = s.key
	}
	if req.Key == "" {
		req.Key = s.idempotency
	}
	if len(s.metadata) > 0 {
		all := make(Metadata, len(req.Metadata)+len(s.metadata))
		maps.Copy(all, req.Metadata)
		maps.Copy(all, s.metadata)
		req.Metadata = all
	}
	s.begun = time.Now()
	ctx.Context, ctx.also = parent, c.closing
	switch _, bounded := parent.Deadline(); {
	case s.timeout > 0:
		ctx.deadline = s.begun.Add(s.timeout)
	case !bounded:
		ctx.deadline = s.begun.Add(c.cfg.timeout)
	}
	defer ctx.end()
	resp, err := c.invoke(ctx, req)
	if err == nil && resp != nil {
		return resp, nil
	}
	c.counters.failed.Add(1)
	if err == nil {
		return nil, newError(codes.Internal, "an interceptor returned neither response nor error", nil).of(req.Method, req.Topic)
	}
	if e, ok := err.(*Error); ok {
		return nil, e.of(req.Method, req.Topic)
	}
	return nil, (&Error{st: statusOf(err), cause: err}).of(req.Method, req.Topic)
}

// send is what the interceptors are around: attempts until one succeeds, or is not
// to be followed by another.
func (c *Client) send(ctx context.Context, req *Request) (*Response, error) {
	if req.settings == nil {
		s := newSettings()
		s.begun = time.Now()
		req.settings = &s
	}
	policy := req.settings.retry
	id := c.newID()
	for attempt := 1; ; attempt++ {
		resp, again, err := c.attempt(ctx, req, id, attempt)
		if err == nil {
			resp.Attempts = attempt
			return resp, nil
		}
		if !again && !policy.wants(attempt, err) || ctx.Err() != nil {
			return nil, err
		}
		pause := time.Duration(0)
		if !again {
			pause = policy.pause(attempt)
		}
		if d, ok := ctx.Deadline(); ok && time.Until(d) <= pause {
			return nil, err // what failed tells more than that the time ran out
		}
		c.counters.retries.Add(1)
		if policy.OnRetry != nil {
			policy.OnRetry(RetryEvent{Topic: req.Topic, Method: req.Method, Attempt: attempt, Err: err.of(req.Method, req.Topic), Pause: pause})
		}
		if !sleep(ctx, pause) {
			return nil, c.ended(ctx, "the call ended before it was tried again")
		}
	}
}

func (c *Client) newID() string {
	var buf [64]byte
	return string(strconv.AppendUint(append(buf[:0], c.prefix...), c.seq.Add(1), 36))
}

// attempt sends the request once and waits for what the call waits for. again says
// that it took longer than the retry policy lets this attempt take.
func (c *Client) attempt(ctx context.Context, req *Request, id string, attempt int) (resp *Response, again bool, failure *Error) {
	s := req.settings
	if s.kind != forOutcome {
		if err := c.reader.wait(ctx, c.closing); err != nil {
			return nil, false, err
		}
	}
	p := c.newPending(id, attempt, s)
	defer p.release()
	err := c.encode(ctx, req, p)
	if err == nil && s.kind != forOutcome {
		err = c.served(ctx, req.Topic)
	}
	if err == nil {
		err = c.calls.add(p)
	}
	if err != nil {
		p.release() // nothing is published
		return nil, false, err
	}
	bounded := ctx
	if limit := s.retry.limit(attempt); limit > 0 && s.kind == forReply {
		short, cancel := context.WithTimeout(ctx, limit)
		defer cancel()
		bounded = short
	}
	c.bus.PublishRecord(bounded, p.record, p.published)
	if p.progress != nil {
		p.progress.isHanded()
	}
	if p.gather != nil {
		resp, err := c.gather(ctx, p)
		return resp, false, err
	}
	end, ok := c.await(bounded, p)
	if !ok && c.calls.abandon(p) {
		end.err = c.ended(bounded, "no reply came before the call ended")
		if end.err.Code() == codes.Canceled {
			p.cancel()
		}
	} else if !ok {
		end = <-p.done // it was being ended while ctx was
	}
	again = bounded != ctx && bounded.Err() != nil && ctx.Err() == nil
	return end.resp, again && end.err != nil && !end.err.remote, end.err
}

// encode makes p's request and its record.
func (c *Client) encode(ctx context.Context, req *Request, p *pending) *Error {
	s := req.settings
	deadline, _ := ctx.Deadline()
	p.request = Frame{
		Kind: KindRequest, ID: p.id, Method: req.Method, Caller: c.id, ReplyPartition: AnyPartition,
		Topic: req.Topic, Key: req.Key, Deadline: deadline, Attempt: p.attempt, IdempotencyKey: s.idempotency,
		ContentType: req.ContentType, Metadata: req.Metadata, Body: req.Body,
	}
	f := &p.request
	if s.kind != forOutcome {
		f.ReplyTo, f.ReplyPartition = c.reader.topic, c.reader.partition.Load()
	}
	if s.kind == forReplies {
		f.Server = AnyServer
	}
	if f.Key == "" && s.retry != nil && c.keyed {
		f.Key = p.id // all attempts to one partition
	}
	if err := c.cfg.wire.Encode(f, p.record); err != nil {
		return newError(codes.InvalidArgument, "the request can't be encoded: "+statusOf(err).Message(), err)
	}
	p.record.Topic, p.record.Partition = req.Topic, s.partition
	return nil
}

// complete ends the call that f answers; err is what was wrong with it.
func (c *Client) complete(f *Frame, err error) {
	if f.Kind != KindReply && f.Kind != 0 || !strings.HasPrefix(f.ID, c.prefix) {
		c.counters.foreign.Add(1)
		return
	}
	r := reply{server: f.Server, contentType: f.ContentType, body: f.Body}
	if err != nil {
		c.counters.undecodable.Add(1)
		f.Status = nil
		r.err = newError(codes.Internal, "the reply can't be decoded: "+statusOf(err).Message(), err)
	} else if f.Status != nil {
		r.err = &Error{st: f.Status, remote: true}
	}
	switch p, g, late := c.calls.match(f); {
	case g != nil:
		if !g.add(r) {
			c.counters.duplicate.Add(1)
		}
	case p != nil && r.err != nil:
		p.done <- ending{err: r.err}
	case p != nil:
		p.done <- ending{resp: &Response{ContentType: f.ContentType, Metadata: f.Metadata, Body: f.Body}}
	case err != nil:
	case late:
		c.counters.late.Add(1)
	default:
		c.counters.duplicate.Add(1)
	}
}
