// Package rpc makes calls over a bus. A client publishes a request to a topic. A server
// that listens on the topic runs a handler, and publishes the reply to the reply topic of
// the client. The same code runs on every transport of package bus.
//
// A server:
//
//	s, err := rpc.NewServer(b)
//	rpc.Handle(s, "Greet", func(ctx context.Context, req *GreetRequest) (*Greeting, error) {
//		return &Greeting{Text: "hello " + req.Name}, nil
//	})
//	err = s.Listen("greeter")
//	err = s.Run(ctx) // until ctx ends
//
// A client:
//
//	c, err := rpc.NewClient(b)
//	defer c.Close()
//	greeting, err := rpc.Call[Greeting](ctx, c, "greeter", "Greet", &GreetRequest{Name: "Ada"})
//
// Constructors and Listen do not wait for a broker. Calls wait, within their contexts. Where
// the transport has topics that must be created, create the topic of a server first (see
// bus.EnsureTopic). Clients create their reply topic by themselves.
//
// [Call] waits for the response. [CallAsync] returns when the request is on its way, and the
// response can be waited for later. [Send] needs no response. [Gather] collects the
// responses of all servers.
//
// # Semantics of a call
//
// A call ends with the response to its own request, or with an error. A client that has just
// started loses no reply: it fixes the position of its reply reader before it sends the first
// request. It counts and drops replies that are late, duplicate, or meant for another client.
//
// The deadline of a call travels with the request. A server does not run a request whose
// deadline has passed, and the context of a handler has the deadline. When a caller cancels,
// its call ends at once, and the client sends a cancel message. The server then ends the
// context of the handler, or does not start the handler. A cancel message may arrive too
// late, or be lost.
//
// # Semantics of a server
//
// A handler runs at least once for a call that was answered. If a request arrives again,
// because the transport redelivers it or the client retries the call, the server answers
// with the first response as long as its replay cache has it (see [WithReplayCache]). If the
// handler still runs, the second request waits for its response. The cache belongs to one
// process: another server that takes over a request runs it again. With bus.AtMostOnce such
// a request is lost instead. An error is not replayed to a later attempt, which runs the
// handler again. The server acknowledges a request to the transport when the transport's log
// has the reply.
//
// The server runs requests with the same key one at a time, in the order in which they were
// published, where the transport keeps order. It runs others concurrently, 64 at once by
// default. Where the transport has consumer groups, the servers of a topic share its
// requests. Where it has none, and with bus.NoGroup, every server runs every request:
// [Call] takes the first response, and [Gather] all of them.
//
// A server that is shut down finishes the requests that run. It answers those that it has
// fetched and not started with codes.Unavailable; see [Server.Shutdown] and
// [WithLeaveOnShutdown].
//
// # Calls without a server
//
// A call to a topic that no server listens on fails at once with codes.Unavailable on
// transports that can tell: memory and Go channels. On others servers can announce
// themselves with [WithDiscovery], and clients can use the announcements with
// [WithFailFast]. Package rpc/discovery asks servers what they serve and how many calls they
// have handled; `trunkline services` prints the answers. Package rpc/affinity assigns each
// key to one of several named servers.
//
// # Errors
//
// Every error of a call is an *[Error] with a gRPC status. Its Remote method reports whether
// a server sent it. A request that cannot be published ends its call at once:
//
//	reason                              error
//	the topic does not exist            Unimplemented
//	no server serves the topic          Unavailable, with the cause ErrNoServer
//	the broker is unavailable           Unavailable
//	the client is closed                Unavailable, not retried
//	the message is too large            ResourceExhausted, not retried
//	too many calls are pending          ResourceExhausted
//	the broker rejects the credentials  Unauthenticated or PermissionDenied
//	the outcome is unknown              none: the call waits for its reply
//
// If no server serves a topic, and nothing reports that, the call ends with
// DeadlineExceeded.
//
// A server itself answers Unimplemented for an unknown method; InvalidArgument for a body
// that it cannot decode, which it also sends to the dead-letter topic if it has one;
// Internal for a panic, whose stack it logs and does not send; and Unavailable when it shuts
// down.
//
// # The wire
//
// The payload of a message is the encoded request or response. Everything else is in message
// headers, as text. Headers that begin with "trunkline-" are reserved; all others are the
// user's metadata. docs/wire.md in the repository specifies the headers and the obligations
// of clients and servers, and has a client in Python. Package rpc/frame has the messages as
// Go types.
//
// # What it does not do
//
// It does not run a handler exactly once: a handler whose effect must not happen twice has
// to detect a repetition by a key of its own. It has no streams, and does not split a
// message that exceeds the limit of the transport.
package rpc
