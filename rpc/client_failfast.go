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

// WithWaitForServer makes the client send a call even if no server listens on its topic.
// The call then waits for its reply until its deadline. Without this option such a call
// fails at once with codes.Unavailable on the transports that detect it (memory and Go
// channels).
func WithWaitForServer() ClientOption {
	return clientOption(func(c *clientConfig) error { c.failFast = failFast{off: true}; return nil })
}

const minFailFast = time.Second

// WithFailFast makes a call fail with codes.Unavailable if no server serves its topic. It
// is for transports that do not detect this themselves, such as Kafka. The client watches
// the announcements of servers. The servers need the option [WithDiscovery]: this client
// cannot call a server that does not have it. A call fails if the client has watched for at
// least the duration within and no server of the topic is announced.
//
// Therefore, if no server is announced, a call on a new client waits up to the duration
// within. Other calls do not wait. within must be at least one second, and longer than the
// interval at which servers announce themselves. For the default interval of three seconds,
// ten seconds are a good value. While the broker is unavailable no announcements arrive,
// and calls fail as they do without this option. opts are those of the presence watcher.
// The default is off.
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
		return nil // if the topic is unusable, publishing returns the reason
	}
	return newError(codes.Unavailable, ErrNoServer.Error(), ErrNoServer)
}

// checkAnnounced waits for the announcement of a server of topic, up to the duration of
// WithFailFast and until ctx ends.
func (c *Client) checkAnnounced(ctx context.Context, topic string) *Error {
	w, err := c.watch()
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
		// The time for which the watcher has already been reading counts.
		var certain <-chan time.Time
		if !since.IsZero() {
			certain = time.After(time.Until(since.Add(within)))
		}
		select {
		case <-changed:
		case <-certain:
		case <-giveUp.C:
			if since.IsZero() {
				return nil // the client cannot read announcements, so it sends the request
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
