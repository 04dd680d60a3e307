package rpc

import (
	"context"

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

// Call calls method of the server that listens on topic, and waits for its answer:
// non-nil if and only if the error is nil. It is safe for concurrent use.
//
// req is a pointer or value of any type: it travels as codec.For says (a proto.Message
// as Protobuf, []byte as it is, anything else as JSON), unless WithCodec says
// otherwise. Resp is chosen by the caller alike. The end of ctx, or of the call's
// timeout, ends the call at once, with codes.Canceled or codes.DeadlineExceeded;
// whether the server ran the request is then unknown. When ctx is cancelled the server
// is told, as well as that can be done, and the handler's context ends; of a deadline
// it knows. Every error is an *Error.
func Call[Resp any](ctx context.Context, c *Client, topic, method string, req any, opts ...CallOption) (*Resp, error) {
	x, err := c.outgoing(topic, method, req, opts)
	if err != nil {
		return nil, err
	}
	return finish[Resp](ctx, c, x)
}

// finish makes the call and decodes its answer.
func finish[Resp any](ctx context.Context, c *Client, x *outgoingCall) (*Resp, error) {
	topic, method := x.req.Topic, x.req.Method
	answer, err := c.call(ctx, x)
	if err != nil {
		return nil, err
	}
	resp, failure := decode[Resp](c, answer.ContentType, answer.Body)
	if failure != nil {
		return nil, failure.of(method, topic)
	}
	return resp, nil
}

func decode[Resp any](c *Client, contentType string, body []byte) (*Resp, *Error) {
	resp := new(Resp)
	dec, err := c.cfg.codecs.of(contentType, resp)
	if err == nil {
		err = dec.Unmarshal(body, resp)
	}
	if err != nil {
		c.counters.undecodable.Add(1)
		return nil, newError(codes.Internal, "the reply can't be decoded: "+err.Error(), err)
	}
	return resp, nil
}

// Send sends a request that is not answered: it returns nil when the transport's log
// has it, and says nothing of a server, which may come later. It does not wait for the reply reader. When
// it fails nothing was sent, except that after codes.Unknown, and after the end of ctx
// or the call's timeout, that is not known: errors.Is tells by bus.CodeOutcomeUnknown
// being bus.CodeOf of the error. With a retry policy it is sent again, under the same
// id, so that a server that got both runs one. Interceptors see an empty response.
func Send(ctx context.Context, c *Client, topic, method string, req any, opts ...CallOption) error {
	x, err := c.outgoing(topic, method, req, opts)
	if err != nil {
		return err
	}
	x.settings.kind = forOutcome
	_, err = c.call(ctx, x)
	return err
}
