package rpc

import "time"

type serverConfig struct {
	config
	group       string
	concurrency int
	window      int
	unordered   bool
	replay      int
	replayBytes int
	skew        time.Duration
	deadLetter  string
	replyTo     func(topic string) bool

	instance     string
	broadcast    bool
	atMostOnce   bool
	leaveOnStop  bool
	discoverable *discoverable // nil for not
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

// ReplayCache sets how many answers, and how many bytes of them, are kept to answer
// a request that comes again without running it again. 0 answers keep none; then a
// redelivered or retried request is run again. Default 4,096 answers, 64 MiB.
func ReplayCache(answers, bytes int) ServerOption {
	return serverOption(func(c *serverConfig) error {
		if answers < 0 || bytes < 0 {
			return invalidOption("the replay cache's size is negative")
		}
		c.replay, c.replayBytes = answers, bytes
		return nil
	})
}

// ClockSkew is how long after its deadline, by the server's clock, a request is
// still begun. Set it to what the clocks of the callers may be behind. Default 0.
func ClockSkew(d time.Duration) ServerOption {
	return serverOption(func(c *serverConfig) error {
		if d < 0 {
			return invalidOption("the clock skew is negative")
		}
		c.skew = d
		return nil
	})
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

// ReplyTopics sets which topics the server may answer to: a request names its own
// reply topic, and must not make the server write just anywhere. A request with
// another one is acknowledged, counted and logged, and not run. Default: those of
// this package's clients, which begin with "trunkline.reply.".
func ReplyTopics(allow func(topic string) bool) ServerOption {
	return serverOption(func(c *serverConfig) error {
		if allow == nil {
			return invalidOption("the function that allows reply topics is nil")
		}
		c.replyTo = allow
		return nil
	})
}

// Instance sets the id of this server among all that serve the topic: discovery,
// presence and the answers to broadcasts name it. It must be unique; one that stays the
// same over restarts suits a named replica. Letters, digits, '.', '_' and '-', at most
// 120. Default: "server." and random letters.
func Instance(id string) ServerOption {
	return serverOption(func(c *serverConfig) error {
		if !validName(id, 120) {
			return invalidOption("the instance's id is empty, over 120 bytes, or has other characters than letters, digits, '.', '_' and '-'")
		}
		c.instance = id
		return nil
	})
}

// Broadcast has this server get every request of its topics, whatever other servers
// get, from when it is ready: it is in no group, and nothing is delivered to it again.
// It is for requests that every instance answers, see [Gather].
func Broadcast() ServerOption {
	return serverOption(func(c *serverConfig) error { c.broadcast = true; return nil })
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

// LeaveOnStop has Shutdown leave the requests that it does not finish to the other
// servers of the group, instead of answering them Unavailable. With several servers it
// spares callers an error, at the price of waiting for the group's next assignment;
// without another one they wait for this one's return, or for their deadlines. It
// changes nothing where the transport has no groups or does not deliver again, nor
// with AtMostOnce.
func LeaveOnStop() ServerOption {
	return serverOption(func(c *serverConfig) error { c.leaveOnStop = true; return nil })
}
