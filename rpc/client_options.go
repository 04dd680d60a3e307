package rpc

import (
	"fmt"
	"time"

	"github.com/trunkline/trunkline/rpc/internal/excerpt"
)

type clientConfig struct {
	config
	name       string
	timeout    time.Duration
	maxPending int
	calls      []CallOption
	failFast   failFast
	replies    replyAddress
}

const maxClientName = 100

// WithName sets the name of the client. The name is part of the client's id and of the
// name of its reply topic. It has 1 to 100 bytes: letters, digits, '.', '_' and '-'. The
// default is "client".
func WithName(name string) ClientOption {
	return clientOption(func(c *clientConfig) error {
		if !validName(name, maxClientName) {
			return invalidOption(fmt.Sprintf("WithName: want 1 to %d %s, got %s", maxClientName, nameRule, excerpt.Of(name)))
		}
		c.name = name
		return nil
	})
}

// WithDefaultTimeout bounds calls that have no [Timeout] and whose context has no
// deadline. The default is 30 s.
func WithDefaultTimeout(d time.Duration) ClientOption {
	return clientOption(func(c *clientConfig) error {
		if d <= 0 {
			return invalidOption(fmt.Sprintf("WithDefaultTimeout: must be greater than 0, got %v", d))
		}
		c.timeout = d
		return nil
	})
}

// WithMaxPending bounds the calls that wait at once. A further call fails with
// codes.ResourceExhausted. The default is 65,536.
func WithMaxPending(n int) ClientOption {
	return clientOption(func(c *clientConfig) error {
		if n < 1 {
			return invalidOption(fmt.Sprintf("WithMaxPending: must be at least 1, got %d", n))
		}
		c.maxPending = n
		return nil
	})
}

// WithCallDefaults sets options for every call of the client. The options of a call are
// applied after them.
func WithCallDefaults(opts ...CallOption) ClientOption {
	return clientOption(func(c *clientConfig) error {
		c.calls = append(c.calls, opts...)
		return nil
	})
}
