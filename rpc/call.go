package rpc

import (
	"context"

	"google.golang.org/grpc/codes"
)

// Call calls method of the server that listens on topic, and waits for its response. The
// response is non-nil if and only if the error is nil. Call is safe for concurrent use.
//
// req is a pointer or a value. A proto.Message is sent as Protobuf, []byte unchanged, and
// any other type as JSON (see codec.For); the option [Codec] selects another codec. Resp is
// the type of the response, and not a pointer to it.
//
// When ctx ends or the timeout of the call expires, the call ends at once with
// codes.Canceled or codes.DeadlineExceeded. It is then unknown whether a server ran the
// request. When ctx is canceled, the client sends a cancel message, and the server that
// receives it ends the context of the handler. The request contains the deadline.
//
// Every error is an *[Error].
func Call[Resp any](ctx context.Context, c *Client, topic, method string, req any, opts ...CallOption) (*Resp, error) {
	x, err := c.outgoing(topic, method, req, opts)
	if err != nil {
		return nil, err
	}
	return finish[Resp](ctx, c, x)
}

// finish makes the call and decodes its response.
func finish[Resp any](ctx context.Context, c *Client, x *outgoingCall) (*Resp, error) {
	topic, method := x.req.Topic, x.req.Method
	encoded, err := c.call(ctx, x)
	if err != nil {
		return nil, err
	}
	resp, failure := decode[Resp](c, encoded)
	if failure != nil {
		return nil, failure.of(method, topic)
	}
	return resp, nil
}

func decode[Resp any](c *Client, encoded *Response) (*Resp, *Error) {
	resp := new(Resp)
	dec, err := c.cfg.codecs.of(encoded.ContentType, resp)
	if err == nil {
		err = dec.Unmarshal(encoded.Body, resp)
	}
	if err != nil {
		c.counters.undecodable.Add(1)
		return nil, newError(codes.Internal, "decode the reply: "+err.Error(), err)
	}
	return resp, nil
}

// Send sends a request that has no reply. It returns nil when the transport's log has the
// request. A server need not be running. It does not wait for the reply reader.
//
// It is unknown whether the request was sent if bus.CodeOf(err) is bus.CodeOutcomeUnknown,
// if ctx has ended or the timeout has expired, or if the client was closed while Send
// waited. After any other error, the request was not sent. With [Retry], Send sends the
// request again with the same id, so a server that receives it twice runs it once.
// Interceptors get an empty response.
func Send(ctx context.Context, c *Client, topic, method string, req any, opts ...CallOption) error {
	x, err := c.outgoing(topic, method, req, opts)
	if err != nil {
		return err
	}
	x.settings.kind = forOutcome
	_, err = c.call(ctx, x)
	return err
}
