package rpc

import (
	"context"
	"errors"
	"sync"
	"time"

	"google.golang.org/grpc/codes"

	"github.com/trunkline/trunkline/bus"
	"github.com/trunkline/trunkline/internal/seam"
	"github.com/trunkline/trunkline/rpc/presence"
)

// ErrNoServer is the cause of the Unavailable error of a call that was not sent, since
// it is known that nobody serves its topic: errors.Is finds it.
var ErrNoServer = errors.New("nobody serves the topic")

// failFast is how a client learns that nobody serves a topic.
type failFast struct {
	off    bool
	within time.Duration // 0 without presence
	opts   []presence.Option
}

// WaitForServer has a call to a topic that nobody listens to go out all the same, and
// wait for its reply until its deadline. Default: where the transport knows who listens
// (memory, Go channels; see [bus.Bus.Listening]) such a call fails at once with
// codes.Unavailable.
func WaitForServer() ClientOption {
	return clientOption(func(c *clientConfig) error { c.fast = failFast{off: true}; return nil })
}

// FailFast has a call to a topic that nobody serves fail with codes.Unavailable where
// the transport can't tell by itself, as Kafka can't: the client watches what servers
// announce (see [Discoverable]), and a call fails when no announcement for its topic
// was heard for this long. So that takes up to within for a client that has just
// been made, or a server that has just gone, and no time later on. within is from one
// second, and must be over the servers' announcing interval; ten seconds suit the
// default of three. Servers that don't announce themselves can't be called any more.
// While the broker is away, nothing is known and nothing fails faster than without it.
// Default: off.
func FailFast(within time.Duration, opts ...presence.Option) ClientOption {
	return clientOption(func(c *clientConfig) error {
		if within < time.Second {
			return invalidOption("the time to hear of a server in is less than a second")
		}
		c.fast = failFast{within: within, opts: opts}
		return nil
	})
}

// watching is a client's knowledge of who serves what. Its zero value watches nothing.
type watching struct {
	once    sync.Once
	watcher *presence.Watcher
	err     error
}

// served returns nil unless it is known that nobody serves topic.
func (c *Client) served(ctx context.Context, topic string) *Error {
	fast := &c.cfg.fast
	switch {
	case fast.off:
		return nil
	case fast.within > 0:
		return c.announced(ctx, topic)
	}
	if listening, err := seam.Of(c.bus).Listening(topic); listening || err != nil {
		return nil // what is wrong with the topic is for publishing to say
	}
	return newError(codes.Unavailable, "nobody listens to the topic", ErrNoServer)
}

// announced waits, as long as FailFast says and no longer than ctx, to hear of
// somebody who serves topic.
func (c *Client) announced(ctx context.Context, topic string) *Error {
	w, err := c.watch()
	if err != nil {
		return newError(codes.InvalidArgument, "servers can't be watched: "+err.Error(), err)
	}
	if w.Serving(topic) > 0 {
		return nil
	}
	giveUp := time.NewTimer(c.cfg.fast.within)
	defer giveUp.Stop()
	for {
		changed := w.Changed()
		since := w.Since()
		if w.Serving(topic) > 0 {
			return nil
		}
		if !since.IsZero() && time.Since(since) >= c.cfg.fast.within {
			return newError(codes.Unavailable, "nobody has announced to serve the topic for "+c.cfg.fast.within.String(), ErrNoServer)
		}
		// The watcher began to hear later than this call came: that time counts.
		var known <-chan time.Time
		if !since.IsZero() {
			known = time.After(time.Until(since.Add(c.cfg.fast.within)))
		}
		select {
		case <-changed:
		case <-known:
		case <-giveUp.C:
			if since.IsZero() {
				return nil // nothing can be heard: the call itself will tell
			}
		case <-c.closing.Done():
			return errClosed
		case <-ctx.Done():
			return contextError(ctx, "nobody is known yet who serves the topic")
		}
	}
}

func (c *Client) watch() (*presence.Watcher, error) {
	w := &c.watching
	w.once.Do(func() {
		opts := append([]presence.Option{presence.WithLogger(c.cfg.logger)}, c.cfg.fast.opts...)
		w.watcher, w.err = presence.Watch(c.bus, opts...)
	})
	return w.watcher, w.err
}

// close ends the watching, and keeps it from being begun.
func (w *watching) close(ctx context.Context) error {
	w.once.Do(func() { w.err = &bus.Error{Code: bus.CodeClosed, Op: "watch", Reason: "the client is closed"} })
	if w.watcher == nil {
		return nil
	}
	return w.watcher.Close(ctx)
}
