package rpc

import (
	"fmt"
	"log/slog"
	"strings"
	"time"

	"google.golang.org/grpc/codes"

	"github.com/trunkline/trunkline/bus"
	"github.com/trunkline/trunkline/bus/codec"
	"github.com/trunkline/trunkline/internal/delivery"
	"github.com/trunkline/trunkline/internal/seam"
	"github.com/trunkline/trunkline/rpc/frame"
)

// ClientOption configures a [Client].
type ClientOption interface{ applyClient(*clientConfig) error }

// ServerOption configures a [Server]. Every bus.SubscribeOption is a ServerOption too: it
// configures the subscriptions of the server. See [NewServer].
type ServerOption interface{ delivery.ServerOption }

// Option configures a [Client] or a [Server].
type Option interface {
	ClientOption
	ServerOption
}

type (
	clientOption func(*clientConfig) error

	serverOption struct {
		delivery.ForServer
		apply func(*serverConfig) error
	}

	sharedOption struct {
		delivery.ForServer
		apply func(*config) error
	}
)

func (o clientOption) applyClient(c *clientConfig) error { return o(c) }
func (o serverOption) applyServer(c *serverConfig) error { return o.apply(c) }
func (o sharedOption) applyClient(c *clientConfig) error { return o.apply(&c.config) }
func (o sharedOption) applyServer(c *serverConfig) error { return o.apply(&c.config) }

func forServer(apply func(*serverConfig) error) ServerOption { return serverOption{apply: apply} }
func forBoth(apply func(*config) error) Option               { return sharedOption{apply: apply} }

// config is what clients and servers have in common.
type config struct {
	wire         frame.Wire
	codecs       codecs
	interceptors []Interceptor
	logger       *slog.Logger
	closeTimeout time.Duration
}

func defaultConfig(b *bus.Bus) config {
	return config{wire: frame.HeaderWire{}, codecs: defaultCodecs(), logger: seam.Of(b).Logger(), closeTimeout: 10 * time.Second}
}

// WithWire sets how requests and replies are encoded as records. Clients and servers of a
// topic need the same wire. The default is [frame.HeaderWire].
func WithWire(w frame.Wire) Option {
	return forBoth(func(c *config) error {
		if w == nil {
			return invalidOption("WithWire: the wire must not be nil")
		}
		c.wire = w
		return nil
	})
}

// WithCodecs adds codecs. A codec replaces an earlier one with the same content type. By
// default there are codec.Protobuf, codec.JSON and codec.Raw.
func WithCodecs(cs ...codec.Codec) Option {
	return forBoth(func(c *config) error {
		for _, k := range cs {
			switch {
			case k == nil:
				return invalidOption("WithCodecs: a codec must not be nil")
			case k.ContentType() == "" || len(k.ContentType()) > frame.MaxContentType:
				return invalidOption("WithCodecs: a content type must have 1 to 128 bytes")
			}
			c.codecs[k.ContentType()] = k
		}
		return nil
	})
}

// WithInterceptors wraps every call in the interceptors. The first one is the outermost.
// The option may be used several times: later interceptors are inside earlier ones.
func WithInterceptors(interceptors ...Interceptor) Option {
	return forBoth(func(c *config) error {
		for _, i := range interceptors {
			if i == nil {
				return invalidOption("WithInterceptors: an interceptor must not be nil")
			}
		}
		c.interceptors = append(c.interceptors, interceptors...)
		return nil
	})
}

// WithLogger sets the logger for errors that cannot be returned to a caller: the stack of
// a panic, a request that cannot be decoded, a reply topic that cannot be opened. The
// default is the logger of the bus.
func WithLogger(l *slog.Logger) Option {
	return forBoth(func(c *config) error {
		if l == nil {
			return invalidOption("WithLogger: the logger must not be nil")
		}
		c.logger = l
		return nil
	})
}

// WithCloseTimeout limits how long Close takes, and how long the shutdown at the end of
// [Server.Run] takes. The default is ten seconds.
func WithCloseTimeout(d time.Duration) Option {
	return forBoth(func(c *config) error {
		if d <= 0 {
			return invalidOption(fmt.Sprintf("WithCloseTimeout: must be greater than 0, got %v", d))
		}
		c.closeTimeout = d
		return nil
	})
}

func invalidOption(text string) *Error { return newError(codes.InvalidArgument, text, nil) }

// nameRule describes what validName accepts, for error texts.
const nameRule = "letters, digits, '.', '_' and '-'"

func validName(s string, limit int) bool {
	if s == "" || len(s) > limit {
		return false
	}
	return strings.IndexFunc(s, func(r rune) bool {
		return !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '.' || r == '_' || r == '-')
	}) < 0
}
