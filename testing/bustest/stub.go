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

// Stub answers the calls to a topic in place of the server that a program depends on, and
// keeps them:
//
//	prices := k.Stub("prices",
//		bustest.Method("Quote").Fails(status.Error(codes.Unavailable, "not yet")),
//		bustest.Method("Quote").Returns(&Quote{Cents: 1200}).After(50*time.Millisecond))
//
// The answers to a method are given in turn, and the last one from then on. A call that the
// client makes again because its answer was lost is one call; one that it makes again
// because the answer was an error is another. All methods are safe for concurrent use, as
// far as [Kit]'s are.
type Stub struct {
	k      *Kit
	topic  string
	server *rpc.Server

	mu      sync.Mutex
	answers map[string][]Answer // by method; never empty
	calls   []Call
	taken   map[int]bool  // what was expected, by Message.number
	changed chan struct{} // closed and replaced at each call
}

// Call is one request that a [Stub] was asked.
type Call struct {
	// Message has the call's topic, key, metadata (Headers) and body (Payload).
	Message
	Method      string
	ContentType string
	// Caller is the calling instance, and Attempt 1 for the first sending.
	Caller  string
	Attempt int
	// Deadline is when the caller stops waiting; zero for never.
	Deadline time.Time
}

// Decode decodes the body into v, a pointer, by the call's content type: JSON, Protobuf
// or bytes.
func (c Call) Decode(v any) error {
	for _, k := range []codec.Codec{codec.JSON, codec.Protobuf, codec.Raw} {
		if k.ContentType() == c.ContentType {
			return k.Unmarshal(c.Payload, v)
		}
	}
	return fmt.Errorf("no codec for content type %q", c.ContentType)
}

// Method is a method to be answered.
type Method string

// Answer is what a [Stub] answers to one method. It is immutable.
type Answer struct {
	method Method
	after  time.Duration
	answer func(context.Context, Call) (any, error)
}

// Returns answers with v: a proto.Message, []byte, or anything that JSON takes.
func (m Method) Returns(v any) Answer {
	return m.Answers(func(context.Context, Call) (any, error) { return v, nil })
}

// Fails answers with an error, which travels as rpc's errors do: one of status.Error keeps
// its code, any other is codes.Unknown.
func (m Method) Fails(err error) Answer {
	return m.Answers(func(context.Context, Call) (any, error) { return nil, err })
}

// Answers answers with what f returns: f runs on a goroutine of its own for each call.
func (m Method) Answers(f func(ctx context.Context, c Call) (any, error)) Answer {
	return Answer{method: m, answer: f}
}

// After is the answer, this much later. A caller that stops waiting ends the wait.
func (a Answer) After(d time.Duration) Answer {
	a.after = d
	return a
}

// Stub starts to answer the calls to the topic, which is made when it isn't there, and
// returns when it does. A method that no answer is for is Unimplemented. It is a client of
// its own, so that the faults of [Kit.Bus] befall the program only.
func (k *Kit) Stub(topic string, answers ...Answer) *Stub {
	k.t.Helper()
	s := &Stub{k: k, topic: topic, answers: map[string][]Answer{}, taken: map[int]bool{}, changed: make(chan struct{})}
	for _, a := range answers {
		s.answers[string(a.method)] = append(s.answers[string(a.method)], a)
	}
	w := k.wait()
	defer w.end()
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
	for method := range s.answers {
		fail(s.server.HandleFunc(method, s.serve))
	}
	k.mu.Lock()
	k.stubs = append(k.stubs, s)
	k.mu.Unlock()
	sub, err := s.server.Start(context.Background(), topic)
	fail(err)
	fail(sub.Ready(w.ctx))
	return s
}

// Answer has the stub answer with these from now on, instead of what it has for their
// methods. They must be methods that it has answered from the beginning: a server's methods
// are fixed when it starts.
func (s *Stub) Answer(answers ...Answer) {
	s.k.t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	given := map[string][]Answer{}
	for _, a := range answers {
		given[string(a.method)] = append(given[string(a.method)], a)
	}
	for method := range given {
		if s.answers[method] == nil {
			s.k.t.Fatalf("bustest: stub on %q: it was not made for method %q, only for %s", s.topic, method,
				strings.Join(slices.Sorted(maps.Keys(s.answers)), ", "))
		}
	}
	maps.Copy(s.answers, given)
}

// Calls returns the calls of the method so far, "" for those of every method, in the order
// in which they came.
func (s *Stub) Calls(method string) []Call {
	s.mu.Lock()
	defer s.mu.Unlock()
	return filter(s.calls, func(c Call) bool { return method == "" || c.Method == method })
}

// Expect waits for a call of the method, "" for any method, whose request has all of the
// properties: of its key ([Key]), its body ([JSON], [Proto], [Payload]) and its metadata
// ([Header]). Each call is expected once. When there is none in time the test fails, and
// says what was called.
func (s *Stub) Expect(method string, properties ...Property) Call {
	s.k.t.Helper()
	s.k.mayBeLookedFor(properties, false)
	w := s.k.wait()
	defer w.end()
	for {
		s.mu.Lock()
		changed := s.changed
		for _, c := range s.calls {
			if s.unlike(&c, method, properties) == "" {
				s.taken[c.number] = true
				s.mu.Unlock()
				return c
			}
		}
		s.mu.Unlock()
		select {
		case <-changed:
		case <-w.ctx.Done():
			s.k.t.Fatalf("bustest: no call of %s on %q%s %s\n%s", methodName(method), s.topic, with(properties), w.bound(), s.report(method, properties))
		}
	}
}

// ExpectNone fails the test when there was a call of the method, "" for any method, whose
// request has all of the properties and was not expected. It does not wait.
func (s *Stub) ExpectNone(method string, properties ...Property) {
	s.k.t.Helper()
	s.k.mayBeLookedFor(properties, false)
	s.mu.Lock()
	unwanted := filter(s.calls, func(c Call) bool { return s.unlike(&c, method, properties) == "" })
	s.mu.Unlock()
	if len(unwanted) > 0 {
		var b strings.Builder
		for _, c := range last(&b, unwanted) {
			fmt.Fprintf(&b, "  %s\n", c)
		}
		s.k.t.Fatalf("bustest: no call of %s was expected on %q%s, and there are %d:\n%s", methodName(method), s.topic, with(properties),
			len(unwanted), strings.TrimSuffix(b.String(), "\n"))
	}
}

// String returns the call in one line.
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

// unlike is called with mu held.
func (s *Stub) unlike(c *Call, method string, properties []Property) string {
	switch {
	case method != "" && c.Method != method:
		return "it is of another method"
	case s.taken[c.number]:
		return "it was expected before"
	}
	return unlike(&Delivery{Message: c.Message}, properties)
}

func (s *Stub) report(method string, properties []Property) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.calls) == 0 {
		return "it was not called at all"
	}
	var b strings.Builder
	fmt.Fprintf(&b, "calls (%d):\n", len(s.calls))
	for _, c := range last(&b, s.calls) {
		fmt.Fprintf(&b, "  %s\n    %s\n", c, s.unlike(&c, method, properties))
	}
	return strings.TrimSuffix(b.String(), "\n")
}

// serve is the handler of every method.
func (s *Stub) serve(ctx context.Context, r *rpc.Request) (*rpc.Response, error) {
	c, a := s.record(ctx, r)
	if a.after > 0 {
		t := time.NewTimer(a.after)
		defer t.Stop()
		select {
		case <-t.C:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	v, err := a.answer(ctx, c)
	if err != nil {
		return nil, err
	}
	k := codec.For(v)
	body, err := k.Marshal(v)
	if err != nil {
		return nil, status.Errorf(codes.Internal, "the stub's answer can't be encoded: %v", err)
	}
	return &rpc.Response{ContentType: k.ContentType(), Body: body}, nil
}

// record keeps the call, and returns the answer whose turn it is.
func (s *Stub) record(ctx context.Context, r *rpc.Request) (Call, Answer) {
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
	turn := s.answers[r.Method]
	if len(turn) > 1 {
		s.answers[r.Method] = turn[1:]
	}
	return c, turn[0]
}
