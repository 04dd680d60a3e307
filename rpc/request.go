package rpc

import "context"

// Metadata is sent with a request or a response: names and values that the user chooses,
// such as "traceparent". Names are case-sensitive. Names that begin with "trunkline-" are
// reserved. A nil Metadata is empty and must not be written to.
type Metadata map[string]string

// Request is an encoded call. On the client, the interceptors may change it until the call
// ends. It must not be changed after that. On the server its Body must not be changed.
type Request struct {
	// Topic is the topic that the server listens on.
	Topic string
	// Method is the method to run.
	Method string
	// Key orders requests and selects their partition; "" means no key.
	Key string
	// ContentType names the codec of Body.
	ContentType string
	// Metadata travels with the request. It may be nil.
	Metadata Metadata
	// Body is the encoded message.
	Body []byte

	settings *callSettings // the client's; nil for the defaults
}

// Response is the encoded result of a Request. Its Body must not be changed.
type Response struct {
	// ContentType names the codec of Body.
	ContentType string
	// Metadata travels with the response. It may be nil.
	Metadata Metadata
	// Body is the encoded message.
	Body []byte
	// Attempts is how many times the client sent the request: 1 without retries. It is 0
	// on a server.
	Attempts int
}

// Func makes a call (on a client) or handles one (on a server). The response is non-nil
// if and only if the error is nil.
type Func func(ctx context.Context, req *Request) (*Response, error)

// Interceptor wraps next. On a client it runs once for each call, around all attempts, and
// ctx has the deadline of the call. It may change the fields of req, but it must call next
// with the same pointer. On a server it runs once each time the handler runs, around the
// handler: FromContext returns the call. A panic of the handler passes through the
// interceptor, so release resources with defer.
type Interceptor func(next Func) Func

// chain wraps f in the interceptors. The first one is the outermost.
func chain(f Func, interceptors []Interceptor) Func {
	for i := len(interceptors) - 1; i >= 0; i-- {
		f = interceptors[i](f)
	}
	return f
}
