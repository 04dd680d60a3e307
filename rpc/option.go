package rpc

import (
	"log/slog"
	"strings"
	"time"

	"google.golang.org/grpc/codes"

	"github.com/trunkline/trunkline/bus/codec"
)

// ClientOption configures a [Client].
type ClientOption interface{ applyClient(*clientConfig) error }

// ServerOption configures a [Server].
type ServerOption interface{ applyServer(*serverConfig) error }

// Option configures a [Client] or a [Server].
type Option interface {
	ClientOption
	ServerOption
}

type (
	sharedOption func(*config) error
	clientOption func(*clientConfig) error
	serverOption func(*serverConfig) error
)

func (o sharedOption) applyClient(c *clientConfig) error { return o(&c.config) }
func (o sharedOption) applyServer(c *serverConfig) error { return o(&c.config) }
func (o clientOption) applyClient(c *clientConfig) error { return o(c) }
func (o serverOption) applyServer(c *serverConfig) error { return o(c) }

// config is what both sides have.
type config struct {
	wire         Wire
	codecs       codecs
	interceptors []Interceptor
	logger       *slog.Logger
}

func defaultConfig() config {
	return config{wire: HeaderWire{}, codecs: defaultCodecs(), logger: slog.New(slog.DiscardHandler)}
}

// WithWire sets the form of frames as messages. Both sides need the same one.
// Default: HeaderWire.
func WithWire(w Wire) Option {
	return sharedOption(func(c *config) error {
		if w == nil {
			return invalidOption("the wire is nil")
		}
		c.wire = w
		return nil
	})
}

// WithCodecs adds codecs, by their content type, to those that are always there:
// codec.Protobuf, codec.JSON and codec.Raw.
func WithCodecs(cs ...codec.Codec) Option {
	return sharedOption(func(c *config) error {
		for _, k := range cs {
			if k == nil || k.ContentType() == "" || len(k.ContentType()) > maxContentType {
				return invalidOption("a codec is nil, or its content type is empty or over 128 bytes")
			}
			c.codecs[k.ContentType()] = k
		}
		return nil
	})
}

// WithInterceptors wraps every call, the first one outermost; those of a later
// WithInterceptors come inside.
func WithInterceptors(is ...Interceptor) Option {
	return sharedOption(func(c *config) error {
		for _, i := range is {
			if i == nil {
				return invalidOption("an interceptor is nil")
			}
		}
		c.interceptors = append(c.interceptors, is...)
		return nil
	})
}

// WithLogger sets where goes what no caller can be told: the stack of a panic, a
// request that can't be read, a reply topic that can't be opened. By default
// nothing is logged.
func WithLogger(l *slog.Logger) Option {
	return sharedOption(func(c *config) error {
		if l == nil {
			return invalidOption("the logger is nil")
		}
		c.logger = l
		return nil
	})
}

type clientConfig struct {
	config
	name       string
	timeout    time.Duration
	maxPending int
	calls      []CallOption
	fast       failFast
	replies    repliesConfig
}

// Name names the client: it is part of its instance id and of its reply topic.
// Letters, digits, '.', '_' and '-', at most 100. Default "client".
func Name(name string) ClientOption {
	return clientOption(func(c *clientConfig) error {
		if !validName(name, 100) {
			return invalidOption("the client's name is empty, over 100 bytes, or has other characters than letters, digits, '.', '_' and '-'")
		}
		c.name = name
		return nil
	})
}

// DefaultTimeout bounds calls whose context has no deadline and that have no
// Timeout. Default 30 s.
func DefaultTimeout(d time.Duration) ClientOption {
	return clientOption(func(c *clientConfig) error {
		if d <= 0 {
			return invalidOption("the default timeout is not over zero")
		}
		c.timeout = d
		return nil
	})
}

// MaxPending bounds the calls that wait for their replies at once; one more fails
// with ResourceExhausted. Default 65,536.
func MaxPending(n int) ClientOption {
	return clientOption(func(c *clientConfig) error {
		if n < 1 {
			return invalidOption("the number of pending calls is less than 1")
		}
		c.maxPending = n
		return nil
	})
}

// CallDefaults sets options for every call; the call's own come after them.
func CallDefaults(opts ...CallOption) ClientOption {
	return clientOption(func(c *clientConfig) error {
		c.calls = append(c.calls, opts...)
		return nil
	})
}

func invalidOption(reason string) *Error { return newError(codes.InvalidArgument, reason, nil) }

func validName(s string, limit int) bool {
	if s == "" || len(s) > limit {
		return false
	}
	return strings.IndexFunc(s, func(r rune) bool {
		return !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '.' || r == '_' || r == '-')
	}) < 0
}
