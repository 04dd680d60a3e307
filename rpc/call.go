package rpc

import (
	"context"

	"google.golang.org/grpc/codes"
)

// Call calls method of the server that listens on topic, and waits for its response. The
// response is non-nil if and only if the error is nil. Call is safe for concurrent use.
//
// req is a pointer or a value. A proto.Message is sent as Protobuf, []byte unchanged, and
// any other type as JSON (see codec.For); the option [Codec] selects another codec. Resp
// is the type to decode the response into, without pointer.
//
// The call ends at once when ctx or the call's timeout ends, with codes.Canceled or
// codes.DeadlineExceeded; whether a server ran the request is then unknown. When ctx is
// canceled the client sends a cancel message, on which the server ends the context of the
// handler. The deadline travels with the request.
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
// request; no server needs to run at that time. It does not wait for the reply reader.
//
// If Send returns an error the request was not sent, with two exceptions, in which that is
// unknown: bus.CodeOf(err) is bus.CodeOutcomeUnknown, or ctx or the timeout has ended.
// With [Retry] a request that was not sent is sent again under the same id, so that a
// server runs it once even if it receives it twice. Interceptors get an empty response.
func Send(ctx context.Context, c *Client, topic, method string, req any, opts ...CallOption) error {
	x, err := c.outgoing(topic, method, req, opts)
	if err != nil {
		return err
	}
	x.settings.kind = forOutcome
	_, err = c.call(ctx, x)
	return err
}
