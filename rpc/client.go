package rpc

import (
	"context"
	"crypto/rand"
	"errors"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc/codes"

	"github.com/trunkline/trunkline/bus"
)

// Client makes calls, with [Call], [CallAsync], [Send], [Gather] and Invoke. These
// functions and all methods of Client are safe for concurrent use.
//
// The clients of one bus share one reply topic and one reader of it, so that many clients
// in a process need no further connections or topics. The last client that is closed
// deletes the topic. [WithReplyTopic] and [WithSharedReplies] select another topic.
type Client struct {
	bus      *bus.Bus
	cfg      clientConfig
	id       string // "<name>.<random>", unique
	idPrefix string // of the ids of its calls
	keyed    bool   // keys select partitions
	invoke   Func   // send, wrapped in the interceptors
	pending  *pendingCalls
	reader   *replyReader
	seq      atomic.Uint64 // counts the ids of calls
	counters clientCounters

	// Each client has its own pools, because a timer that was created in a synctest bubble
	// must not be used outside of it.
	timers   sync.Pool // of *time.Timer
	reusable sync.Pool // of *pendingCall

	watching serverWatch // the announcements of servers, for WithFailFast

	closing    context.Context // ends when the client is closed
	stop       context.CancelCauseFunc
	background background
	closeOnce  sync.Once
	closed     chan struct{} // closed when closeErr is set
	closeErr   error
}

// NewClient returns a client on b. The client does not own b: close the client first.
//
// NewClient does not wait for a broker. In the background, the client creates its reply
// topic and starts to read it. It tries again until it succeeds. A call waits for the
// reader within its own context.
func NewClient(b *bus.Bus, opts ...ClientOption) (*Client, error) {
	if b == nil {
		return nil, invalidOption("NewClient: the bus must not be nil")
	}
	cfg := clientConfig{config: defaultConfig(b), name: "client", timeout: 30 * time.Second, maxPending: 65536}
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
	c := &Client{bus: b, cfg: cfg, id: cfg.name + "." + instance, idPrefix: instance + "-", closed: make(chan struct{})}
	c.pending = newPendingCalls(cfg.maxPending)
	c.keyed = caps.Keys && caps.Partitions
	c.invoke = chain(c.send, cfg.interceptors)
	c.closing, c.stop = context.WithCancelCause(context.Background())
	c.reader = acquireReader(c)
	return c, nil
}

// newInstance returns the random part of an instance id.
func newInstance() string { return strings.ToLower(rand.Text()) }

var errClosed = permanentError(codes.Unavailable, "the client is closed")

// ID returns the id of this client. Servers see it as CallInfo.Caller.
func (c *Client) ID() string { return c.id }

// ReplyTopic returns the topic on which this client receives replies.
func (c *Client) ReplyTopic() string { return c.reader.topic }

// Ready waits until the client can receive replies. If ctx ends first, the error of Ready
// has the reason. Ready is optional, because each call waits too.
func (c *Client) Ready(ctx context.Context) error {
	if c.closing.Err() != nil {
		return errClosed
	}
	if err := c.reader.wait(ctx, c.closing); err != nil {
		return err
	}
	return nil
}

// Shutdown closes the client. It ends all calls in progress, and all later calls, with
// codes.Unavailable; it sends no cancel messages for them. The last client of a reply
// topic also closes the reader and deletes the topic, if it is not shared. If ctx ends
// before that, Shutdown returns an error and the topic may remain. Further calls of
// Shutdown and Close wait for the first and return the same error.
func (c *Client) Shutdown(ctx context.Context) error {
	first := false
	c.closeOnce.Do(func() { first = true })
	if !first {
		select {
		case <-c.closed:
			return c.closeErr
		case <-ctx.Done():
			return contextError(ctx, "the client did not close in time")
		}
	}
	c.pending.close(errClosed)
	c.stop(errClosed)
	c.background.close()
	c.closeErr = errors.Join(c.watching.close(ctx), c.reader.release(ctx, c))
	close(c.closed)
	return c.closeErr
}

// Close is Shutdown with the bound of [WithCloseTimeout].
func (c *Client) Close() error {
	ctx, cancel := context.WithTimeout(context.Background(), c.cfg.closeTimeout)
	defer cancel()
	return c.Shutdown(ctx)
}
