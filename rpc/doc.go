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
// Constructors and Listen do not wait for a broker. Calls wait, within their contexts.
// Where the transport has topics that must be created, create the topic of a server first
// (see bus.EnsureTopic). Clients create their own reply topics.
//
// [Call] waits for the response. [CallAsync] returns when the transport has accepted the
// request, and the caller waits for the response later. [Send] needs no response. [Gather]
// collects the responses of all servers.
//
// # Semantics of a call
//
// A call ends with the response to its own request, or with an error. A client that has
// just started loses no reply: it determines where its reply reader starts before it sends
// the first request. It counts and drops replies that are late, duplicate, or meant for
// another client.
//
// The deadline of a call travels with the request. A server does not run a request whose
// deadline has passed, and the context of a handler has the deadline. When a caller cancels,
// its call ends at once, and the client sends a cancel message. The server then ends the
// context of the handler, or does not start the handler. A cancel message may arrive too
// late, or be lost.
//
// # Semantics of a server
//
// By default a request runs at least once. A request may arrive again, because the
// transport redelivers it or the client retries the call. The server then answers with the
// first response, as long as its replay cache has it (see [WithReplayCache]). If the
// handler still runs, the second request waits for its response. If the handler returned an
// error, a later attempt of the client runs the handler again. The cache belongs to one
// process: if the transport redelivers a request to another server, that server runs it
// again. With bus.AtMostOnce there is no redelivery, and a request that a crashed server
// has not finished is lost. The server acknowledges a request to the transport when the
// transport's log has the reply.
//
// The server runs requests with the same key one at a time, in the order in which they were
// published, where the transport keeps order. It runs others concurrently, 64 at once by
// default. Where the transport has consumer groups, the servers of a topic share its
// requests. Where it has none, and with the option bus.NoGroup, every server runs every
// request: [Call] takes the first response, and [Gather] all of them.
//
// A server that shuts down finishes the requests that are running. It answers the requests
// that it has fetched and not started with codes.Unavailable; see [Server.Shutdown] and
// [WithLeaveOnShutdown].
//
// # Calls without a server
//
// The transports memory and Go channels detect that no server listens on a topic. A call to
// such a topic then fails at once with codes.Unavailable. On other transports, servers can
// announce themselves with [WithDiscovery], and clients can use the announcements with
// [WithFailFast]. Package rpc/discovery asks servers what they serve and how many calls
// they have handled; `trunkline services` prints the answers. Package rpc/affinity assigns
// each key to one of several named servers.
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
// If no server serves a topic and the client cannot detect that, the call ends with
// DeadlineExceeded.
//
// A server itself answers Unimplemented for an unknown method; InvalidArgument for a body
// that it cannot decode, which it also sends to the dead-letter topic if it has one;
// Internal for a panic, whose stack it logs and does not send; and Unavailable when it shuts
// down.
//
// # The wire
//
// The payload of a message is the encoded request or response. Everything else is in
// message headers, as text. Headers that begin with "trunkline-" are reserved; all others
// are the user's metadata. docs/wire.md in the repository specifies the headers, and what
// clients and servers must do. It includes a client in Python. Package rpc/frame has the
// messages as Go types.
//
// # What it does not do
//
// It does not run a handler exactly once. If the effect of a handler must not happen twice,
// the handler has to detect repeated requests itself, for example by a key in the request.
// It has no streams, and does not split a message that exceeds the limit of the transport.
package rpc
