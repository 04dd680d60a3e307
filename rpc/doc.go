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
// The topic of a server has to exist where topics are created (bus.EnsureTopic). The
// clients of a bus have one reply topic together, made for the first and deleted with
// the last, and one reader of it; [ReplyTopic] and [SharedReplies] choose another
// address. `trunkline reply-topics clean` deletes those of processes that crashed.
//
// [CallAsync] is told when a request is sent and waits for the reply later, [Send] wants
// no reply, and [Gather] takes those of every instance.
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
// first answer as long as that is in the server's cache (see ReplayCache): one that
// still runs is joined. The cache is one process's, so a request that another server
// takes over is run again; with [AtMostOnce] it is lost instead. An error is not
// replayed to a later attempt: the caller knows of it and asks anew. A request is
// acknowledged to the transport after its reply is in the transport's log.
//
// A call's deadline travels: a request whose deadline has passed is dropped before
// its handler, and the handler's context has it. The caller's cancellation ends the
// call at once, and a notice of it, as fast as the transport is, ends the handler's
// context; a request that is not begun yet is dropped then.
//
// Requests with the same key run one at a time, in the order they were published,
// where the transport keeps order; others run side by side, 64 at once. Where
// the transport has consumer groups, the servers of a topic share its requests;
// where it has none, and with [Broadcast], every server runs every request: [Call]
// takes the first answer, [Gather] all of them.
//
// A server that is shut down finishes what it has begun, and answers Unavailable what
// it has fetched and will not begin; see [Server.Shutdown] and [LeaveOnStop].
//
// # Who is there
//
// A call to a topic that nobody listens to fails at once with Unavailable where the
// transport knows that: memory and Go channels. Elsewhere servers with [Discoverable]
// announce themselves, and clients with [FailFast] go by that. Package rpc/discovery
// asks servers what they serve, and how that goes; `trunkline services` prints it.
// Package rpc/affinity gives each key one of several named replicas.
//
// # Errors
//
// Every error of a call is an *Error with a gRPC status. Remote tells whether the
// server answered with it. Of those that are made here, a request that could not be
// published ends its call at once:
//
//	the topic does not exist           Unimplemented: nobody serves this here
//	it is known that nobody serves it  Unavailable, ErrNoServer
//	the broker can't be reached        Unavailable
//	the message is too large           ResourceExhausted, not to be retried
//	credentials are refused            Unauthenticated or PermissionDenied
//	the outcome is not known           none: the call goes on waiting for its reply
//
// A topic that exists and that nobody serves, where that is not known, is
// DeadlineExceeded. Too many pending calls are ResourceExhausted; a client that is
// closed is Unavailable.
//
// Of those a server makes by itself: Unimplemented for a method it does not know,
// InvalidArgument for a body it can't decode, which also goes to the dead-letter topic
// ([DeadLetterTopic]), Internal for a panic, whose stack goes to the log only, and
// Unavailable when it stops.
//
// # The wire
//
// [HeaderWire] is the default form: the payload is the encoded message, the rest is in
// message headers, all of them text. docs/wire.md in the repository describes each,
// what client and server have to do, and has a client in Python. Names under
// "trunkline-" are reserved, all other headers are the users' metadata.
//
// # What it does not do
//
// No exactly once: a handler whose effect must not happen twice needs a key of its
// own to tell. No streams yet, and no chunks: a message has to fit the transport's
// limit. A cancel notice may come too late, or be lost.
package rpc
