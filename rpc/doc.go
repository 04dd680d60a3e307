// Package rpc makes calls over a bus: a client publishes a request to a topic, a
// server that listens there runs a handler and publishes the answer to the client's
// reply topic. It runs on every transport of package bus, Kafka as well as any
// watermill Pub/Sub, with one program text.
//
// A server:
//
//	s, err := rpc.NewServer(b)
//	rpc.Handle(s, "Greet", func(ctx context.Context, req *GreetRequest) (*Greeting, error) {
//		return &Greeting{Text: "hello " + req.Name}, nil
//	})
//	err = s.Serve(ctx, "greeter") // until ctx ends
//
// A client:
//
//	c, err := rpc.NewClient(b)
//	defer c.Close()
//	greeting, err := rpc.Call[Greeting](ctx, c, "greeter", "Greet", &GreetRequest{Name: "Ada"})
//
// Neither waits for a broker when it is made: calls wait, within their contexts.
// The topic of a server has to exist where topics are created (bus.EnsureTopic); the
// client makes its own reply topic and deletes it on Close.
//
// # Semantics
//
// A call is answered once, with its own answer, or ends with an error that says what
// is known. No answer is lost at start-up: the reply reader's position is fixed
// before the first request goes out. Replies that are late, come twice, or are
// somebody else's are counted and dropped.
//
// A handler is run at least once for a call that was answered. A request that comes
// again, redelivered by the transport or retried by the client, is answered with its
// first answer as long as that is in the server's cache (see ReplayCache); the cache
// is one process's, so a request that another server takes over is run again. An
// error is not replayed to a later attempt: the caller knows of it and asks anew. A
// request is acknowledged to the transport after its reply is in the transport's log.
//
// A call's deadline travels: a request whose deadline has passed is dropped before
// its handler, and the handler's context has it. The caller's cancellation ends the
// call at once; the server is not told of it.
//
// Requests with the same key run one at a time, in the order they were published,
// where the transport keeps order; others run side by side, 64 at once. Where
// the transport has consumer groups, the servers of a topic share its requests;
// where it has none every server runs every request, and the second answer is
// counted as a duplicate.
//
// # Errors
//
// Every error of a call is an *Error with a gRPC status. Remote tells whether the
// server answered with it. Of those that are made here, a request that could not be
// published ends its call at once:
//
//	the topic does not exist           Unimplemented: nobody serves this here
//	the broker can't be reached        Unavailable
//	the message is too large           ResourceExhausted, not to be retried
//	credentials are refused            Unauthenticated or PermissionDenied
//	the outcome is not known           none: the call goes on waiting for its reply
//
// A topic that exists and that nobody serves is DeadlineExceeded. Too many pending
// calls are ResourceExhausted; a client that is closed is Unavailable.
//
// # The wire
//
// [HeaderWire] is the default form. The payload is the encoded message; the rest is
// in message headers. All are text.
//
//	trunkline-rpc-frame            "1 request", "1 reply" or "1 cancel": version, one space, kind
//	trunkline-rpc-id               unique among the caller's calls; a reply repeats it; ≤ 128 bytes
//	trunkline-rpc-caller           the calling instance; a reply repeats it; ≤ 255 bytes
//	trunkline-rpc-method           requests; ≤ 255 bytes
//	trunkline-rpc-reply-to         requests: the topic for the reply; none if it is not wanted; ≤ 255 bytes
//	trunkline-rpc-reply-partition  requests: the partition of that topic, decimal; none for any
//	trunkline-rpc-deadline         requests: when the caller stops waiting, nanoseconds since 1970 UTC, decimal; none for never
//	trunkline-rpc-attempt          from 2 on, decimal; a reply repeats it
//	trunkline-rpc-content-type     the payload's codec: "application/protobuf", "application/json", "application/octet-stream"
//	trunkline-rpc-status           replies: the gRPC status code, decimal; none for OK
//	trunkline-rpc-message          replies: the status message, UTF-8; ≤ 16 KiB
//	trunkline-rpc-details          replies: base64 of a google.rpc.Status that holds the details only; ≤ 64 KiB
//	trunkline-rpc-stream           reserved: the number of a stream
//
// Other names under "trunkline-" are reserved and ignored; all other headers are the
// users' metadata, at most 128 with 64 KiB. A request's key is the record's key. A
// receiver answers a version it does not know with Unimplemented.
//
// # What it does not do
//
// No exactly once: a handler whose effect must not happen twice needs a key of its
// own to tell. No streams yet, no one-way calls and no broadcast from the client, no
// notice of cancellation to the server, no chunks: a message has to fit the
// transport's limit.
package rpc
