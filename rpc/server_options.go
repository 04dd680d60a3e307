package rpc

import (
	"fmt"
	"time"

	"github.com/trunkline/trunkline/rpc/internal/excerpt"
	"github.com/trunkline/trunkline/rpc/internal/replytopic"
)

type serverConfig struct {
	config
	group       string
	concurrency int
	window      int
	unordered   bool
	atMostOnce  bool
	deadLetter  string

	replay          int
	replayBytes     int
	skew            time.Duration
	allowReplyTo    func(topic string) bool
	instance        string
	broadcast       bool
	leaveOnShutdown bool
	discovery       *discoveryConfig // nil without WithDiscovery
}

func defaultServerConfig() serverConfig {
	return serverConfig{config: defaultConfig(), concurrency: 64, replay: 4096, replayBytes: 64 << 20, allowReplyTo: replytopic.Allowed}
}

// complete checks the options against each other and sets the defaults that depend on
// others.
func (c *serverConfig) complete() error {
	if c.broadcast && c.group != "" {
		return invalidOption("WithBroadcast and Group contradict each other: use one of them")
	}
	if c.window == 0 {
		c.window = 64 + c.concurrency
	}
	if c.instance == "" {
		c.instance = "server." + newInstance()
	}
	return nil
}

// Group sets the consumer group the server is a member of: members share the
// requests. Where the transport has no groups it is an Unsupported error. Default:
// "trunkline.rpc.<topic>" where the transport has groups, and none elsewhere: there
// every server of a topic runs every request.
func Group(name string) ServerOption {
	return serverOption(func(c *serverConfig) error {
		if name == "" {
			return invalidOption("the group's name is empty: leave the option out for the default")
		}
		c.group = name
		return nil
	})
}

// Concurrency bounds the handlers that run at once for each topic served. Replies on
// their way to the transport's log are bounded by Window. Default 64.
func Concurrency(n int) ServerOption {
	return serverOption(func(c *serverConfig) error {
		if n < 1 {
			return invalidOption("the concurrency is less than 1")
		}
		c.concurrency = n
		return nil
	})
}

// Window bounds, for each partition, the requests that are fetched and not yet
// acknowledged: those that run, those that wait for Concurrency or for their key, and
// those whose replies are on their way. It is the bound of the queue. Leave room beyond
// Concurrency, or cancel notices come to be read late. Default 64 more than Concurrency.
func Window(n int) ServerOption {
	return serverOption(func(c *serverConfig) error {
		if n < 1 {
			return invalidOption("the window is less than 1")
		}
		c.window = n
		return nil
	})
}

// Unordered runs requests side by side whatever their keys. Default: requests of
// one key run one at a time, in the order they were published, and all others side
// by side; on a transport that keeps order but carries no keys, one request of a
// partition at a time; on one that keeps no order, side by side.
func Unordered() ServerOption {
	return serverOption(func(c *serverConfig) error { c.unordered = true; return nil })
}

// DeadLetterTopic sets where messages go that can't be read as requests. Default:
// none; they are acknowledged, counted and logged.
func DeadLetterTopic(topic string) ServerOption {
	return serverOption(func(c *serverConfig) error {
		if topic == "" {
			return invalidOption("the dead-letter topic's name is empty")
		}
		c.deadLetter = topic
		return nil
	})
}

// AtMostOnce has each request acknowledged, and that committed, before its handler
// begins, so that the transport never makes it run twice. What is lost then: a request
// whose server dies after the commit is not run by another, begun or not, and its
// caller hears nothing before its deadline; a reply that can't be published is not
// tried again. What is not: a handler's failure is answered as ever, a caller's own
// retry is answered from the replay cache, and requests that were committed and can't
// be begun any more are answered Unavailable. It costs a commit, which many requests
// share. Where the transport has no groups nothing is delivered twice anyway. Default:
// at least once.
func AtMostOnce() ServerOption {
	return serverOption(func(c *serverConfig) error { c.atMostOnce = true; return nil })
}

// WithReplayCache sets how many replies the server keeps, and how many bytes of them, to
// answer a repeated request without running it again. With 0 replies it keeps none, and
// runs a redelivered or retried request again. The defaults are 4,096 replies and 64 MiB.
func WithReplayCache(replies, bytes int) ServerOption {
	return serverOption(func(c *serverConfig) error {
		if replies < 0 || bytes < 0 {
			return invalidOption(fmt.Sprintf("WithReplayCache: replies and bytes must be at least 0, got %d and %d", replies, bytes))
		}
		c.replay, c.replayBytes = replies, bytes
		return nil
	})
}

// WithClockSkew sets how long after its deadline, by the clock of the server, a request is
// still run. Set it to the largest difference between the clocks of callers and server.
// The default is 0.
func WithClockSkew(d time.Duration) ServerOption {
	return serverOption(func(c *serverConfig) error {
		if d < 0 {
			return invalidOption(fmt.Sprintf("WithClockSkew: must be at least 0, got %v", d))
		}
		c.skew = d
		return nil
	})
}

// WithAllowedReplyTopics sets which topics the server may send replies to. A request names
// its reply topic, and must not be able to make the server write to any topic. The server
// acknowledges, counts and logs a request with a topic that is not allowed, and does not
// run it. The default allows the topics of this package's clients, which begin with
// "trunkline.reply.". allow must be safe for concurrent use.
func WithAllowedReplyTopics(allow func(topic string) bool) ServerOption {
	return serverOption(func(c *serverConfig) error {
		if allow == nil {
			return invalidOption("WithAllowedReplyTopics: the function must not be nil")
		}
		c.allowReplyTo = allow
		return nil
	})
}

const maxInstance = 120

// WithInstance sets the id of the server. Discovery, presence and the answers to a [Gather]
// name it. It must be unique among the servers of a topic, and may stay the same over
// restarts, which suits a named replica. It has 1 to 120 bytes: letters, digits, '.', '_'
// and '-'. The default is "server." and random letters.
func WithInstance(id string) ServerOption {
	return serverOption(func(c *serverConfig) error {
		if !validName(id, maxInstance) {
			return invalidOption(fmt.Sprintf("WithInstance: want 1 to %d %s, got %s", maxInstance, nameRule, excerpt.Of(id)))
		}
		c.instance = id
		return nil
	})
}

// WithBroadcast makes the server read every request on its topics, whatever other servers
// read, from the time when it is ready. The server is in no consumer group, and the
// transport does not deliver a request to it again. Use it for requests that every instance
// answers; see [Gather].
func WithBroadcast() ServerOption {
	return serverOption(func(c *serverConfig) error { c.broadcast = true; return nil })
}

// WithLeaveOnShutdown makes Shutdown leave the requests that it does not finish to the
// other servers of the group, instead of answering them with codes.Unavailable. With
// several servers this saves callers an error, and they wait for the next assignment of
// the group. With one server they wait until it starts again, or until their deadlines. It
// has no effect on transports without groups or redelivery, or with at-most-once delivery.
func WithLeaveOnShutdown() ServerOption {
	return serverOption(func(c *serverConfig) error { c.leaveOnShutdown = true; return nil })
}
