package bustest

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/trunkline/trunkline/bus"
	"github.com/trunkline/trunkline/bus/codec"
	"github.com/trunkline/trunkline/rpc"
)

// Stub is an RPC server that replaces a service that the program under test calls. The test sets its
// replies, and the stub records the calls:
//
//	prices := k.Stub("prices",
//		bustest.Method("Quote").Fails(status.Error(codes.Unavailable, "not yet")),
//		bustest.Method("Quote").Returns(&Quote{Cents: 1200}).After(50*time.Millisecond))
//
// A stub uses the replies of a method in order, one for each call, and then repeats the last one. If
// the client sends a call again because the reply was lost, it counts as the same call. If the
// client repeats a call because the reply was an error, it counts as a new call. All methods are safe for
// concurrent use. Those that fail the test must be called from the test's goroutine.
type Stub struct {
	k      *Kit
	topic  string
	server *rpc.Server

	mu       sync.Mutex
	replies  map[string][]Reply // by method; never empty
	calls    []Call
	expected map[int]bool  // the calls that an Expect has returned, by Message.number
	changed  chan struct{} // closed and replaced at each call
}

// Call is one call that a [Stub] received.
type Call struct {
	// Message has the topic, the key, the metadata (Headers) and the body (Payload) of the call.
	Message
	Method      string
	ContentType string
	// Caller is the ID of the client that made the call.
	Caller string
	// Attempt counts how often the client has sent this call, from 1.
	Attempt int
	// Deadline is when the client stops waiting; the zero time if it has no deadline.
	Deadline time.Time
}

// Decode decodes the body into v, which is a pointer, by the content type of the call: JSON,
// Protobuf or bytes.
func (c Call) Decode(v any) error {
	for _, k := range []codec.Codec{codec.JSON, codec.Protobuf, codec.Raw} {
		if k.ContentType() == c.ContentType {
			return k.Unmarshal(c.Payload, v)
		}
	}
	return fmt.Errorf("no codec for content type %q", c.ContentType)
}

// Method is the name of a method that a [Stub] replies to. Its methods return replies.
type Method string

// Reply is a reply of a [Stub] to a call of one method. It is immutable.
type Reply struct {
	method Method
	delay  time.Duration
	run    func(context.Context, Call) (any, error)
}

// Returns replies with v: a proto.Message, a []byte, or any value that encoding/json can encode.
func (m Method) Returns(v any) Reply {
	return m.Runs(func(context.Context, Call) (any, error) { return v, nil })
}

// Fails replies with an error. The client receives it like any error of an RPC handler: an error
// of package status keeps its code, any other error has codes.Unknown.
func (m Method) Fails(err error) Reply {
	return m.Runs(func(context.Context, Call) (any, error) { return nil, err })
}

// Runs replies with the result of f. The stub calls f once for each call, concurrently.
func (m Method) Runs(f func(ctx context.Context, c Call) (any, error)) Reply {
	return Reply{method: m, run: f}
}

// After returns the same reply with a delay. The delay ends early if the caller stops waiting.
func (r Reply) After(d time.Duration) Reply {
	r.delay = d
	return r
}

// Stub starts an RPC server on the topic that replies with these replies. It creates the topic if
// it does not exist, and returns when the server is ready. A call of a method that has no reply
// fails with codes.Unimplemented. The stub has its own bus, so the faults of [Kit.Bus] do not
// affect it. The kit closes it.
func (k *Kit) Stub(topic string, replies ...Reply) *Stub {
	k.t.Helper()
	s := &Stub{k: k, topic: topic, replies: byMethod(replies), expected: map[int]bool{}, changed: make(chan struct{})}
	w := k.startWait()
	defer w.cancel()
	c := k.NewClient()
	fail := func(err error) {
		k.t.Helper()
		if err != nil {
			k.t.Fatalf("bustest: stub on %q: %v", topic, err)
		}
	}
	fail(c.bus.EnsureTopic(w.ctx, bus.TopicSpec{Name: topic}))
	var err error
	s.server, err = rpc.NewServer(c.bus)
	fail(err)
	for method := range s.replies {
		fail(s.server.HandleFunc(method, s.serve))
	}
	k.mu.Lock()
	k.stubs = append(k.stubs, s)
	k.mu.Unlock()
	fail(s.server.Listen(topic))
	fail(s.server.Ready(w.ctx))
	return s
}

func byMethod(replies []Reply) map[string][]Reply {
	m := map[string][]Reply{}
	for _, r := range replies {
		m[string(r.method)] = append(m[string(r.method)], r)
	}
	return m
}

// SetReplies replaces the replies of these methods. The methods must be among those that the stub
// was created with, because an RPC server cannot add methods after it has started.
func (s *Stub) SetReplies(replies ...Reply) {
	s.k.t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	given := byMethod(replies)
	for method := range given {
		if s.replies[method] == nil {
			s.k.t.Fatalf("bustest: stub on %q: it was created without method %q, only with %s", s.topic, method,
				strings.Join(slices.Sorted(maps.Keys(s.replies)), ", "))
		}
	}
	maps.Copy(s.replies, given)
}

// Calls returns the calls of the method so far ("" means every method), in the order in which the
// stub received them.
func (s *Stub) Calls(method string) []Call {
	s.mu.Lock()
	defer s.mu.Unlock()
	return filter(s.calls, func(c Call) bool { return method == "" || c.Method == method })
}

// Expect waits for a call of the method ("" means any method) that has all of the properties, and
// returns the first such call. The properties are those of its key ([Key]), its body ([JSON],
// [Proto], [Payload]) and its metadata ([Header]). Expect ignores calls that an earlier Expect has
// returned. At the time-out it fails the test and lists the calls.
func (s *Stub) Expect(method string, properties ...Property) Call {
	s.k.t.Helper()
	s.k.checkProperties(properties, false)
	w := s.k.startWait()
	defer w.cancel()
	for {
		s.mu.Lock()
		changed := s.changed
		for _, c := range s.calls {
			if s.mismatch(&c, method, properties) == "" {
				s.expected[c.number] = true
				s.mu.Unlock()
				return c
			}
		}
		s.mu.Unlock()
		select {
		case <-changed:
		case <-w.ctx.Done():
			s.k.t.Fatalf("bustest: no call of %s on %q%s %s\n%s", methodName(method), s.topic, withProperties(properties), w.bound(), s.report(method, properties))
		}
	}
}

// ExpectNone fails the test if there was a call of the method ("" means any method) that has all of
// the properties and that no Expect has returned. It does not wait.
func (s *Stub) ExpectNone(method string, properties ...Property) {
	s.k.t.Helper()
	s.k.checkProperties(properties, false)
	s.mu.Lock()
	unexpected := filter(s.calls, func(c Call) bool { return s.mismatch(&c, method, properties) == "" })
	s.mu.Unlock()
	if len(unexpected) > 0 {
		var b strings.Builder
		for _, c := range lastShown(&b, unexpected) {
			fmt.Fprintf(&b, "  %s\n", c)
		}
		s.k.t.Fatalf("bustest: expected no call of %s on %q%s, got %d:\n%s", methodName(method), s.topic, withProperties(properties),
			len(unexpected), strings.TrimSuffix(b.String(), "\n"))
	}
}

// String returns the call as one line. It shortens long values.
func (c Call) String() string {
	_, request, _ := strings.Cut(c.Message.String(), " (not in the log)")
	return c.Method + request
}

func methodName(method string) string {
	if method == "" {
		return "any method"
	}
	return method
}

// mismatch returns the reason why the call does not match, or "" if it matches. The caller holds mu.
func (s *Stub) mismatch(c *Call, method string, properties []Property) string {
	switch {
	case method != "" && c.Method != method:
		return "it is a call of another method"
	case s.expected[c.number]:
		return "it was expected before"
	}
	return mismatch(&Delivery{Message: c.Message}, properties)
}

func (s *Stub) report(method string, properties []Property) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.calls) == 0 {
		return "there were no calls"
	}
	var b strings.Builder
	fmt.Fprintf(&b, "calls (%d):\n", len(s.calls))
	for _, c := range lastShown(&b, s.calls) {
		fmt.Fprintf(&b, "  %s\n    %s\n", c, s.mismatch(&c, method, properties))
	}
	return strings.TrimSuffix(b.String(), "\n")
}

// serve is the handler of every method.
func (s *Stub) serve(ctx context.Context, r *rpc.Request) (*rpc.Response, error) {
	c, reply := s.record(ctx, r)
	if reply.delay > 0 {
		t := time.NewTimer(reply.delay)
		defer t.Stop()
		select {
		case <-t.C:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	v, err := reply.run(ctx, c)
	if err != nil {
		return nil, err
	}
	k := codec.For(v)
	body, err := k.Marshal(v)
	if err != nil {
		return nil, status.Errorf(codes.Internal, "bustest: stub on %q: the reply to %s cannot be encoded: %v", s.topic, r.Method, err)
	}
	return &rpc.Response{ContentType: k.ContentType(), Body: body}, nil
}

// record records the call and returns the reply to it.
func (s *Stub) record(ctx context.Context, r *rpc.Request) (Call, Reply) {
	c := Call{Method: r.Method, ContentType: r.ContentType, Message: Message{
		Topic: s.topic, Partition: -1, Offset: -1, Key: r.Key, Headers: map[string]string{}, Payload: slices.Clone(r.Body)}}
	maps.Copy(c.Headers, r.Metadata)
	if info, ok := rpc.FromContext(ctx); ok {
		c.UUID, c.Caller, c.Attempt, c.Deadline = info.ID, info.Caller, info.Attempt, info.Deadline
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	c.number = len(s.calls)
	s.calls = append(s.calls, c)
	close(s.changed)
	s.changed = make(chan struct{})
	replies := s.replies[r.Method]
	if len(replies) > 1 {
		s.replies[r.Method] = replies[1:]
	}
	return c, replies[0]
}
