package rpc

import (
	"context"
	"time"

	"google.golang.org/grpc/codes"
)

// Request is one call, encoded. On the client it is the interceptors' and must not
// be changed after the call has returned; on the server its Body must not be changed.
type Request struct {
	// Topic is where the server listens.
	Topic string
	// Method names what is to be run.
	Method string
	// Key orders requests and picks their partition; "" for none.
	Key string
	// ContentType names the codec of Body.
	ContentType string
	// Metadata travels beside Body. It may be nil.
	Metadata Metadata
	// Body is the encoded message.
	Body []byte

	settings *callSettings // the client's; nil for the defaults
}

// Response is the answer to a Request, encoded. Its Body must not be changed.
type Response struct {
	// ContentType names the codec of Body.
	ContentType string
	// Metadata travels beside Body. It may be nil.
	Metadata Metadata
	// Body is the encoded message.
	Body []byte
	// Attempts is how often the request was sent, on the client; 1 without retries.
	Attempts int
}

// Func makes a call, on the client, or answers one, on the server. The response is
// non-nil if and only if the error is nil.
type Func func(ctx context.Context, req *Request) (*Response, error)

// Interceptor wraps next. On the client it runs once a call, around all of its
// attempts, with the call's deadline on ctx; the Request it passes on must be the
// one it was given, changed or not. On the server it runs where the handler does:
// FromContext tells about the call, and a panic below it reaches it.
type Interceptor func(next Func) Func

func chain(f Func, is []Interceptor) Func {
	for i := len(is) - 1; i >= 0; i-- {
		f = is[i](f)
	}
	return f
}

// CallOption configures one call.
type CallOption func(*callSettings)

type callSettings struct {
	key      string
	timeout  time.Duration
	metadata Metadata
	codec    Codec
	retry    *RetryPolicy
	err      *Error // of an option that makes no sense; the call fails with it
}

// Key orders the call among others with the same key: they land on one partition,
// and a server runs them one at a time in the order they were made. "" is no key.
func Key(key string) CallOption { return func(s *callSettings) { s.key = key } }

// Timeout bounds the call, retries included; the context's deadline holds too.
// Default: the client's DefaultTimeout when the context has no deadline.
func Timeout(d time.Duration) CallOption {
	return func(s *callSettings) {
		if d <= 0 {
			s.err = invalidOption("the timeout is not over zero")
		}
		s.timeout = d
	}
}

// Header adds an entry to the metadata that travels with the request. Names that
// begin with "trunkline-" are reserved and fail the call.
func Header(name, value string) CallOption {
	return func(s *callSettings) {
		if s.metadata == nil {
			s.metadata = Metadata{}
		}
		s.metadata[name] = value
	}
}

// WithCodec encodes the request with c instead of its type's default, and the server
// answers alike.
func WithCodec(c Codec) CallOption {
	return func(s *callSettings) {
		if c == nil {
			s.err = invalidOption("the codec is nil")
		}
		s.codec = c
	}
}

// Retry has the call made again when it fails as the policy says. Default: never.
func Retry(p RetryPolicy) CallOption {
	p = p.withDefaults()
	return func(s *callSettings) { s.retry = &p }
}

// Call calls method of the server that listens on topic, and waits for its answer:
// non-nil if and only if the error is nil. It is safe for concurrent use.
//
// req is a pointer or value of any type: a proto.Message travels as Protobuf, []byte
// as Raw, anything else as JSON, unless WithCodec says otherwise. Resp is chosen by
// the caller alike. The end of ctx, or of the call's timeout, ends the call at once,
// with codes.Canceled or codes.DeadlineExceeded; whether the server ran the request
// is then unknown. Every error is an *Error.
func Call[Resp any](ctx context.Context, c *Client, topic, method string, req any, opts ...CallOption) (*Resp, error) {
	x, err := c.outgoing(opts)
	if err != nil {
		return nil, err.of(method, topic)
	}
	codec := x.settings.codec
	if codec == nil {
		codec = codecFor(req)
	}
	body, failure := codec.Marshal(req)
	if failure != nil {
		return nil, newError(codes.InvalidArgument, "the request can't be encoded: "+failure.Error(), failure).of(method, topic)
	}
	x.req = Request{Topic: topic, Method: method, ContentType: codec.ContentType(), Body: body}
	answer, failure := c.call(ctx, x)
	if failure != nil {
		return nil, failure
	}
	resp := new(Resp)
	codec, failure = c.cfg.codecs.of(answer.ContentType, resp)
	if failure == nil {
		failure = codec.Unmarshal(answer.Body, resp)
	}
	if failure != nil {
		c.counters.undecodable.Add(1)
		return nil, newError(codes.Internal, "the reply can't be decoded: "+failure.Error(), failure).of(method, topic)
	}
	return resp, nil
}
