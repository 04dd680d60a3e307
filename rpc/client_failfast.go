package rpc

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"google.golang.org/grpc/codes"

	"github.com/trunkline/trunkline/bus"
	"github.com/trunkline/trunkline/internal/seam"
	"github.com/trunkline/trunkline/rpc/presence"
)

// ErrNoServer is the cause of the Unavailable error of a call that the client did not send
// because no server serves its topic. Find it with errors.Is.
var ErrNoServer = errors.New("no server serves the topic")

// failFast is how a client detects that no server serves a topic.
type failFast struct {
	off    bool
	within time.Duration // of WithFailFast; 0 without it
	opts   []presence.Option
}

// WithWaitForServer sends calls to a topic that no server listens on, and waits for their
// replies until their deadlines. Without it such a call fails at once with
// codes.Unavailable, on transports that can tell (memory and Go channels).
func WithWaitForServer() ClientOption {
	return clientOption(func(c *clientConfig) error { c.failFast = failFast{off: true}; return nil })
}

const minFailFast = time.Second

// WithFailFast makes calls to a topic that no server serves fail with codes.Unavailable on
// transports that cannot tell by themselves, such as Kafka. The client watches the
// announcements of servers, which need the option [WithDiscovery]: a server without it
// cannot be called by this client. A call fails if no server of its topic has announced
// itself for the duration within.
//
// A call therefore waits up to within on a new client, or just after a server has gone, and
// not at all otherwise. within must be at least one second, and longer than the interval at
// which servers announce themselves; ten seconds suit the default interval of three. While
// the broker is unavailable no announcements arrive, and calls fail as they do without this
// option. opts are those of the presence watcher. The default is off.
func WithFailFast(within time.Duration, opts ...presence.Option) ClientOption {
	return clientOption(func(c *clientConfig) error {
		if within < minFailFast {
			return invalidOption(fmt.Sprintf("WithFailFast: must be at least %v, got %v", minFailFast, within))
		}
		c.failFast = failFast{within: within, opts: opts}
		return nil
	})
}

// serverWatch starts the presence watcher of a client when it is first needed. Its zero
// value has not started it.
type serverWatch struct {
	once    sync.Once
	watcher *presence.Watcher
	err     error
}

// checkServed returns an error if it is certain that no server serves topic.
func (c *Client) checkServed(ctx context.Context, topic string) *Error {
	fast := &c.cfg.failFast
	switch {
	case fast.off:
		return nil
	case fast.within > 0:
		return c.checkAnnounced(ctx, topic)
	}
	if listening, err := seam.Of(c.bus).Listening(topic); listening || err != nil {
		return nil // publishing will report what is wrong with the topic
	}
	return newError(codes.Unavailable, ErrNoServer.Error(), ErrNoServer)
}

// checkAnnounced waits for the announcement of a server of topic, no longer than
// WithFailFast says and no longer than ctx.
func (c *Client) checkAnnounced(ctx context.Context, topic string) *Error {
	w, err := c.watch() //nolint:contextcheck // the watcher lives as long as the client
	if err != nil {
		return newError(codes.InvalidArgument, "watch the announcements of servers: "+err.Error(), err)
	}
	if w.Serving(topic) > 0 {
		return nil
	}
	within := c.cfg.failFast.within
	giveUp := time.NewTimer(within)
	defer giveUp.Stop()
	for {
		changed := w.Changed()
		since := w.Since()
		if w.Serving(topic) > 0 {
			return nil
		}
		if !since.IsZero() && time.Since(since) >= within {
			return newError(codes.Unavailable, "no server of the topic has announced itself for "+within.String(), ErrNoServer)
		}
		// If the watcher has been reading for a while already, that time counts.
		var certain <-chan time.Time
		if !since.IsZero() {
			certain = time.After(time.Until(since.Add(within)))
		}
		select {
		case <-changed:
		case <-certain:
		case <-giveUp.C:
			if since.IsZero() {
				return nil // announcements cannot be read: the call itself will fail
			}
		case <-c.closing.Done():
			return errClosed
		case <-ctx.Done():
			return contextError(ctx, "no server of the topic has announced itself yet")
		}
	}
}

func (c *Client) watch() (*presence.Watcher, error) {
	w := &c.watching
	w.once.Do(func() {
		opts := append([]presence.Option{presence.WithLogger(c.cfg.logger)}, c.cfg.failFast.opts...)
		w.watcher, w.err = presence.NewWatcher(c.bus, opts...)
	})
	return w.watcher, w.err
}

// close closes the watcher, and prevents a later start of it.
func (w *serverWatch) close(ctx context.Context) error {
	w.once.Do(func() { w.err = &bus.Error{Code: bus.CodeClosed, Op: "watch", Reason: "the client is closed"} })
	if w.watcher == nil {
		return nil
	}
	return w.watcher.Shutdown(ctx)
}
