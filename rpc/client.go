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
)

// closeTimeout bounds Client.Close.
const closeTimeout = 10 * time.Second

// Client makes calls. It has one reply topic of its own, which one reader reads for
// its life. All methods, and Call, are safe for concurrent use; a program needs few
// clients.
type Client struct {
	bus      *bus.Bus
	cfg      clientConfig
	id       string // "<name>.<instance>", unique
	prefix   string // of the ids of its calls
	replyTo  string
	invoke   Func
	calls    *calls
	reader   *replyReader
	seq      atomic.Uint64
	counters clientCounters

	// What calls use again; the client's own, so that a test's clock owns the timers.
	timers sync.Pool // of *time.Timer
	idle   sync.Pool // of *pending
	frames sync.Pool // of *Frame

	watching watching // of servers' announcements, for FailFast

	// closing ends with the client: nobody waits for room or back-off any more.
	closing context.Context
	close   func() error
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
		s := callSettings{}
		if o(&s); s.err != nil {
			return nil, s.err
		}
	}
	instance := strings.ToLower(rand.Text())
	c := &Client{bus: b, cfg: cfg, id: cfg.name + "." + instance, prefix: instance + "-", calls: newCalls(cfg.maxPending)}
	c.replyTo = replyPrefix + c.id
	c.invoke = chain(c.send, cfg.interceptors)
	closing, cancel := context.WithCancelCause(context.Background())
	c.closing = closing
	c.reader = newReplyReader(c)
	c.close = sync.OnceValue(func() error {
		c.calls.close(errClosed)
		cancel(errClosed)
		ctx, stop := context.WithTimeout(context.Background(), closeTimeout)
		defer stop()
		return errors.Join(c.watching.close(ctx), c.reader.close(ctx))
	})
	c.reader.start(closing)
	return c, nil
}

var errClosed = &Error{st: newError(codes.Unavailable, "the client is closed", nil).st, terminal: true}

// ID returns the id of this instance, which servers know as the caller.
func (c *Client) ID() string { return c.id }

// ReplyTopic returns the topic that replies to this client go to.
func (c *Client) ReplyTopic() string { return c.replyTo }

// Ready waits until replies can be received, or ctx ends: then it says why not yet.
// Calls do that by themselves.
func (c *Client) Ready(ctx context.Context) error {
	if c.closing.Err() != nil {
		return errClosed
	}
	if err := c.reader.wait(ctx); err != nil {
		return err
	}
	return nil
}

// Close ends every pending call with codes.Unavailable at once, and every later
// one, stops the reply reader, and deletes the reply topic where topics are created.
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
	x, err := c.outgoing(opts)
	if err != nil {
		return nil, err.of(req.Method, req.Topic)
	}
	x.req = *req
	return c.call(ctx, x)
}

// outgoingCall is what one call needs on its way out, in one allocation.
type outgoingCall struct {
	settings callSettings
	ctx      lazyContext
	req      Request
}

func (c *Client) outgoing(opts []CallOption) (*outgoingCall, *Error) {
	x := &outgoingCall{}
	s := &x.settings
	for _, o := range c.cfg.calls {
		o(s)
	}
	for _, o := range opts {
		o(s)
	}
	if s.err != nil {
		return nil, s.err
	}
	return x, nil
}

// call runs the interceptors under the call's deadline.
func (c *Client) call(parent context.Context, x *outgoingCall) (*Response, error) {
	c.counters.calls.Add(1)
	req, s, ctx := &x.req, &x.settings, &x.ctx
	req.settings = s
	if s.key != "" {
		req.Key = s.key
	}
	if len(s.metadata) > 0 {
		all := make(Metadata, len(req.Metadata)+len(s.metadata))
		maps.Copy(all, req.Metadata)
		maps.Copy(all, s.metadata)
		req.Metadata = all
	}
	ctx.Context, ctx.also = parent, c.closing
	switch _, bounded := parent.Deadline(); {
	case s.timeout > 0:
		ctx.deadline = time.Now().Add(s.timeout)
	case !bounded:
		ctx.deadline = time.Now().Add(c.cfg.timeout)
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
		req.settings = &callSettings{}
	}
	policy := req.settings.retry
	id := c.newID()
	for attempt := 1; ; attempt++ {
		resp, err := c.attempt(ctx, req, id, attempt)
		if err == nil {
			resp.Attempts = attempt
			return resp, nil
		}
		if !policy.wants(attempt, err) || ctx.Err() != nil {
			return nil, err
		}
		pause := policy.pause(attempt)
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

// attempt sends the request once and waits for its reply.
func (c *Client) attempt(ctx context.Context, req *Request, id string, attempt int) (*Response, *Error) {
	if err := c.reader.wait(ctx); err != nil {
		return nil, err
	}
	if err := c.served(ctx, req.Topic); err != nil {
		return nil, err
	}
	deadline, _ := ctx.Deadline()
	p := c.newPending(id, attempt)
	defer p.release()
	p.request = Frame{
		Kind: KindRequest, ID: id, Method: req.Method, Caller: c.id, ReplyTo: c.replyTo, ReplyPartition: AnyPartition,
		Topic: req.Topic, Key: req.Key, Deadline: deadline, Attempt: attempt,
		ContentType: req.ContentType, Metadata: req.Metadata, Body: req.Body,
	}
	m, err := c.cfg.wire.Encode(&p.request)
	if err != nil {
		p.release() // nothing is published
		return nil, newError(codes.InvalidArgument, "the request can't be encoded: "+statusOf(err).Message(), err)
	}
	if err := c.calls.add(p); err != nil {
		p.release()
		return nil, err
	}
	c.bus.PublishAsync(ctx, req.Topic, m, p.published)
	end, ok := c.await(ctx, p)
	if !ok && c.calls.abandon(p) {
		return nil, c.ended(ctx, "no reply came before the call ended")
	}
	if !ok {
		end = <-p.done // it was being ended while ctx was
	}
	return end.resp, end.err
}

// await returns false when ctx ends first. For the call's own context, which no
// interceptor has wrapped, it uses a timer that is used again, since making a
// context with a deadline costs more than the rest of a call.
func (c *Client) await(ctx context.Context, p *pending) (ending, bool) {
	select {
	case end := <-p.done:
		return end, true
	default:
	}
	own, ok := ctx.(*lazyContext)
	if !ok {
		select {
		case end := <-p.done:
			return end, true
		case <-ctx.Done():
			return ending{}, false
		}
	}
	var expired <-chan time.Time
	if !own.deadline.IsZero() {
		t, ok := c.timers.Get().(*time.Timer)
		if d := time.Until(own.deadline); ok {
			t.Reset(d)
		} else {
			t = time.NewTimer(d)
		}
		defer func() { t.Stop(); c.timers.Put(t) }()
		expired = t.C
	}
	select {
	case end := <-p.done:
		return end, true
	case <-own.Context.Done():
	case <-expired:
	}
	return ending{}, false
}

// ended is the error of a call whose context has.
func (c *Client) ended(ctx context.Context, doing string) *Error {
	if c.closing.Err() != nil {
		return errClosed
	}
	return contextError(ctx, doing)
}

// receive is the reply reader's handler. It only matches and completes.
func (c *Client) receive(d *bus.Delivery) {
	f, ok := c.frames.Get().(*Frame)
	if !ok {
		f = new(Frame)
	}
	c.complete(f, c.cfg.wire.Decode(d.Message, f))
	*f = Frame{}
	c.frames.Put(f)
}

// complete ends the call that f answers; err is what was wrong with it.
func (c *Client) complete(f *Frame, err error) {
	if f.Caller != c.id || f.Kind != KindReply && f.Kind != 0 || !strings.HasPrefix(f.ID, c.prefix) {
		if err != nil && f.Caller == "" {
			c.counters.undecodable.Add(1)
			return
		}
		c.counters.foreign.Add(1)
		return
	}
	if err != nil {
		c.counters.undecodable.Add(1)
		f.Status = nil
	}
	p, late := c.calls.match(f)
	switch {
	case p == nil && err != nil:
	case p == nil && late:
		c.counters.late.Add(1)
	case p == nil:
		c.counters.duplicate.Add(1)
	case err != nil:
		p.done <- ending{err: newError(codes.Internal, "the reply can't be decoded: "+statusOf(err).Message(), err)}
	case f.Status != nil:
		p.done <- ending{err: &Error{st: f.Status, remote: true}}
	default:
		p.done <- ending{resp: &Response{ContentType: f.ContentType, Metadata: f.Metadata, Body: f.Body}}
	}
}
