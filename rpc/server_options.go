package rpc

import (
	"fmt"
	"time"

	"github.com/trunkline/trunkline/bus"
	"github.com/trunkline/trunkline/rpc/internal/excerpt"
	"github.com/trunkline/trunkline/rpc/internal/replytopic"
)

type serverConfig struct {
	config
	replay          int
	replayBytes     int
	skew            time.Duration
	allowReplyTo    func(topic string) bool
	instance        string
	leaveOnShutdown bool
	discovery       *discoveryConfig      // nil without WithDiscovery
	subscribe       []bus.SubscribeOption // of the user
}

func newServerConfig(b *bus.Bus, opts []ServerOption) (*serverConfig, error) {
	c := &serverConfig{config: defaultConfig(b), replay: 4096, replayBytes: 64 << 20, allowReplyTo: replytopic.Allowed,
		instance: "server." + newInstance()}
	for _, o := range opts {
		switch o := o.(type) {
		case interface{ applyServer(*serverConfig) error }:
			if err := o.applyServer(c); err != nil {
				return nil, err
			}
		case bus.SubscribeOption:
			c.subscribe = append(c.subscribe, o)
		default:
			return nil, invalidOption(fmt.Sprintf("NewServer: %T is not an option of this package or of package bus", o))
		}
	}
	return c, nil
}

// WithReplayCache sets how many replies the server keeps, and how many bytes of them, to
// answer a repeated request without running it again. With 0 replies it keeps none, and
// runs a redelivered or retried request again. The defaults are 4,096 replies and 64 MiB.
func WithReplayCache(replies, bytes int) ServerOption {
	return forServer(func(c *serverConfig) error {
		if replies < 0 || bytes < 0 {
			return invalidOption(fmt.Sprintf("WithReplayCache: replies and bytes must be at least 0, got %d and %d", replies, bytes))
		}
		c.replay, c.replayBytes = replies, bytes
		return nil
	})
}

// WithClockSkew sets how long after its deadline a request may still start, by the clock of
// the server. Set it to the largest difference between the clocks of callers and server.
// The default is 0.
func WithClockSkew(d time.Duration) ServerOption {
	return forServer(func(c *serverConfig) error {
		if d < 0 {
			return invalidOption(fmt.Sprintf("WithClockSkew: must be at least 0, got %v", d))
		}
		c.skew = d
		return nil
	})
}

// WithAllowedReplyTopics sets which topics the server may send replies to. A request names
// its reply topic, so without this check a caller could make the server write to an
// arbitrary topic. If the topic is not allowed, the server acknowledges, counts and logs
// the request, and does not run it. The default allows the topics of this package's
// clients, which begin with "trunkline.reply.". allow must be safe for concurrent use.
func WithAllowedReplyTopics(allow func(topic string) bool) ServerOption {
	return forServer(func(c *serverConfig) error {
		if allow == nil {
			return invalidOption("WithAllowedReplyTopics: the function must not be nil")
		}
		c.allowReplyTo = allow
		return nil
	})
}

const maxInstance = 120

// WithInstance sets the id of the server. Discovery, presence and the answers to a [Gather]
// contain it. It must be unique among the servers of a topic. It may stay the same across
// restarts, for example the name of a replica. It has 1 to 120 bytes: letters, digits, '.',
// '_' and '-'. The default is "server." followed by random letters and digits.
func WithInstance(id string) ServerOption {
	return forServer(func(c *serverConfig) error {
		if !validName(id, maxInstance) {
			return invalidOption(fmt.Sprintf("WithInstance: want 1 to %d %s, got %s", maxInstance, nameRule, excerpt.Of(id)))
		}
		c.instance = id
		return nil
	})
}

// WithLeaveOnShutdown makes Shutdown leave the requests that it does not finish to the
// other servers of the group, instead of answering them with codes.Unavailable. With
// several servers, callers get no error, but wait until the group has assigned the
// partitions to the other servers. With one server, they wait until it starts again, or
// until their deadlines. It has no effect on transports without groups or redelivery, or
// with at-most-once delivery.
func WithLeaveOnShutdown() ServerOption {
	return forServer(func(c *serverConfig) error { c.leaveOnShutdown = true; return nil })
}
