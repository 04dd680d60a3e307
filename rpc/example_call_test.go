package rpc_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/trunkline/trunkline/bus"
	"github.com/trunkline/trunkline/bus/codec"
	"github.com/trunkline/trunkline/rpc"
)

// serveGreeter starts a server with one method on the topic "greeter", and returns a
// client. done closes both, and the bus.
func serveGreeter(ctx context.Context, method string, h func(context.Context, *GreetRequest) (*Greeting, error)) (c *rpc.Client, done func()) {
	b := openBus(ctx, "greeter")
	s := must(rpc.NewServer(b))
	check(rpc.Handle(s, method, h))
	check(s.Listen("greeter"))
	check(s.Ready(ctx))
	c = must(rpc.NewClient(b))
	return c, func() { check(errors.Join(c.Close(), s.Close(), b.Close())) }
}

// An error has a gRPC status, and says whether a server sent it.
func ExampleError() {
	ctx, cancel := exampleContext()
	defer cancel()
	c, done := serveGreeter(ctx, "Greet", func(_ context.Context, req *GreetRequest) (*Greeting, error) {
		return nil, status.Errorf(codes.NotFound, "nobody is called %s", req.Name)
	})
	defer done()

	for _, topic := range []string{"greeter", "greater"} {
		_, err := rpc.Call[Greeting](ctx, c, topic, "Greet", &GreetRequest{Name: "Bob"})
		if e, ok := errors.AsType[*rpc.Error](err); ok {
			fmt.Println(topic, e.Code(), "remote:", e.Remote())
		}
	}
	// Output:
	// greeter NotFound remote: true
	// greater Unimplemented remote: false
}

// The details of a gRPC status travel with the error.
func ExampleError_Details() {
	ctx, cancel := exampleContext()
	defer cancel()
	c, done := serveGreeter(ctx, "Greet", func(context.Context, *GreetRequest) (*Greeting, error) {
		st, err := status.New(codes.FailedPrecondition, "the greeter is off duty").WithDetails(&errdetails.ErrorInfo{Reason: "OFF_DUTY"})
		if err != nil {
			return nil, err
		}
		return nil, st.Err()
	})
	defer done()

	_, err := rpc.Call[Greeting](ctx, c, "greeter", "Greet", &GreetRequest{Name: "Ada"})
	if e, ok := errors.AsType[*rpc.Error](err); ok {
		fmt.Println(e.Message())
		for _, d := range e.Details() {
			if info, ok := d.(*errdetails.ErrorInfo); ok {
				fmt.Println("reason:", info.GetReason())
			}
		}
	}
	// Output:
	// the greeter is off duty
	// reason: OFF_DUTY
}

// The deadline of a call is also that of the handler's context.
func ExampleTimeout() {
	ctx, cancel := exampleContext()
	defer cancel()
	ended := make(chan error, 1)
	c, done := serveGreeter(ctx, "Wait", func(ctx context.Context, _ *GreetRequest) (*Greeting, error) {
		<-ctx.Done()
		ended <- context.Cause(ctx)
		return nil, ctx.Err()
	})
	defer done()

	_, err := rpc.Call[Greeting](ctx, c, "greeter", "Wait", &GreetRequest{}, rpc.Timeout(50*time.Millisecond))
	fmt.Println("caller:", rpc.CodeOf(err))
	fmt.Println("handler:", <-ended)
	// Output:
	// caller: DeadlineExceeded
	// handler: context deadline exceeded
}

// Canceling the context of a call ends the call, and the context of the handler.
func ExampleCall_cancel() {
	ctx, cancel := exampleContext()
	defer cancel()
	begun, ended := make(chan struct{}), make(chan bool, 1)
	c, done := serveGreeter(ctx, "Wait", func(ctx context.Context, _ *GreetRequest) (*Greeting, error) {
		close(begun)
		<-ctx.Done()
		ended <- errors.Is(context.Cause(ctx), context.Canceled)
		return nil, ctx.Err()
	})
	defer done()

	calling, stop := context.WithCancel(ctx)
	go func() {
		<-begun
		stop()
	}()
	_, err := rpc.Call[Greeting](calling, c, "greeter", "Wait", &GreetRequest{})
	fmt.Println("caller:", rpc.CodeOf(err))
	fmt.Println("handler canceled:", <-ended)
	// Output:
	// caller: Canceled
	// handler canceled: true
}

// Start several calls, and wait for their responses afterwards.
func ExampleCallAsync() {
	ctx, cancel := exampleContext()
	defer cancel()
	c, done := serveGreeter(ctx, "Greet", greet)
	defer done()

	var calls []*rpc.AsyncCall[Greeting]
	for _, name := range []string{"Ada", "Grace"} {
		calls = append(calls, rpc.CallAsync[Greeting](ctx, c, "greeter", "Greet", &GreetRequest{Name: name}))
	}
	fmt.Println("sent:", calls[0].Sent(ctx) == nil)
	for _, call := range calls {
		greeting, err := call.Reply(ctx)
		fmt.Println(greeting.Text, err)
	}
	// Output:
	// sent: true
	// hello Ada <nil>
	// hello Grace <nil>
}

// A one-way call returns when the transport's log has the request.
func ExampleSend() {
	ctx, cancel := exampleContext()
	defer cancel()
	greeted := make(chan string, 1)
	c, done := serveGreeter(ctx, "Greet", func(_ context.Context, req *GreetRequest) (*Greeting, error) {
		greeted <- req.Name
		return &Greeting{}, nil
	})
	defer done()

	fmt.Println(rpc.Send(ctx, c, "greeter", "Greet", &GreetRequest{Name: "Ada"}))
	fmt.Println("handled", <-greeted)
	// Output:
	// <nil>
	// handled Ada
}

// Servers without a group read every request. Gather collects the answers of all.
func ExampleGather() {
	ctx, cancel := exampleContext()
	defer cancel()
	b := openBus(ctx, "greeter")
	defer b.Close()
	for i := range 3 {
		s := must(rpc.NewServer(b, bus.NoGroup(), rpc.WithInstance(fmt.Sprint("greeter-", i))))
		check(rpc.Handle(s, "Greet", greet))
		check(s.Listen("greeter"))
		defer s.Close()
		check(s.Ready(ctx))
	}
	c := must(rpc.NewClient(b))
	defer c.Close()

	answers, err := rpc.Gather[Greeting](ctx, c, "greeter", "Greet", &GreetRequest{Name: "Ada"}, rpc.Expect(3))
	if err != nil {
		panic(err)
	}
	slices.SortFunc(answers, func(a, b rpc.Answer[Greeting]) int { return strings.Compare(a.Server, b.Server) })
	for _, a := range answers {
		fmt.Println(a.Server+":", a.Resp.Text)
	}
	// Output:
	// greeter-0: hello Ada
	// greeter-1: hello Ada
	// greeter-2: hello Ada
}

// The client repeats a failed call with the same id, according to the policy.
func ExampleRetry() {
	ctx, cancel := exampleContext()
	defer cancel()
	c, done := serveGreeter(ctx, "Greet", func(ctx context.Context, req *GreetRequest) (*Greeting, error) {
		if call, _ := rpc.FromContext(ctx); call.Attempt == 1 {
			return nil, status.Error(codes.Unavailable, "warming up")
		}
		return greet(ctx, req)
	})
	defer done()

	greeting, err := rpc.Call[Greeting](ctx, c, "greeter", "Greet", &GreetRequest{Name: "Ada"},
		rpc.Retry(rpc.RetryPolicy{
			Max:        3,
			MinBackoff: time.Millisecond,
			OnRetry:    func(e rpc.RetryEvent) { fmt.Println("attempt", e.Attempt, "failed:", e.Err.Message()) },
		}))
	if err != nil {
		panic(err)
	}
	fmt.Println(greeting.Text)
	// Output:
	// attempt 1 failed: warming up
	// hello Ada
}

// Calls with the same idempotency key run once, and all get the same response.
func ExampleIdempotencyKey() {
	ctx, cancel := exampleContext()
	defer cancel()
	var orders atomic.Int64
	c, done := serveGreeter(ctx, "Order", func(context.Context, *GreetRequest) (*Greeting, error) {
		return &Greeting{Text: fmt.Sprint("order ", orders.Add(1))}, nil
	})
	defer done()

	for _, key := range []string{"a", "a", "b"} {
		order := must(rpc.Call[Greeting](ctx, c, "greeter", "Order", &GreetRequest{}, rpc.IdempotencyKey(key)))
		fmt.Println(key, order.Text)
	}
	// Output:
	// a order 1
	// a order 1
	// b order 2
}

// A codec is found by its content type. Client and server need the same codecs.
func ExampleCodec() {
	ctx, cancel := exampleContext()
	defer cancel()
	b := openBus(ctx, "greeter")
	defer b.Close()

	s := must(rpc.NewServer(b, rpc.WithCodecs(lines{})))
	check(rpc.Handle(s, "Greet", func(_ context.Context, name *string) (*string, error) {
		text := "hello " + *name
		return &text, nil
	}))
	check(s.Listen("greeter"))
	defer s.Close()
	c := must(rpc.NewClient(b, rpc.WithCodecs(lines{}), rpc.WithInterceptors(func(next rpc.Func) rpc.Func {
		return func(ctx context.Context, req *rpc.Request) (*rpc.Response, error) {
			fmt.Printf("%s %q\n", req.ContentType, req.Body)
			return next(ctx, req)
		}
	})))
	defer c.Close()

	name := "Ada"
	greeting := must(rpc.Call[string](ctx, c, "greeter", "Greet", &name, rpc.Codec(lines{})))
	fmt.Println(*greeting)
	// Output:
	// text/x-line "Ada\n"
	// hello Ada
}

// lines encodes a string as a line of text.
type lines struct{}

var _ codec.Codec = lines{}

func (lines) ContentType() string { return "text/x-line" }

func (lines) Marshal(v any) ([]byte, error) {
	s, ok := v.(*string)
	if !ok {
		return nil, fmt.Errorf("lines: want a *string, got %T", v)
	}
	return []byte(*s + "\n"), nil
}

func (lines) Unmarshal(data []byte, v any) error {
	s, ok := v.(*string)
	if !ok {
		return fmt.Errorf("lines: want a *string, got %T", v)
	}
	*s = strings.TrimSuffix(string(data), "\n")
	return nil
}

// A transport in memory reports that no server listens, so the call fails at once. On Kafka
// use WithFailFast.
func ExampleErrNoServer() {
	ctx, cancel := exampleContext()
	defer cancel()
	b := openBus(ctx, "greeter")
	defer b.Close()
	c := must(rpc.NewClient(b))
	defer c.Close()

	_, err := rpc.Call[Greeting](ctx, c, "greeter", "Greet", &GreetRequest{Name: "Ada"})
	fmt.Println(rpc.CodeOf(err), errors.Is(err, rpc.ErrNoServer))
	// Output: Unavailable true
}

// With announcements a call without server fails fast on every transport.
func ExampleWithFailFast() {
	ctx, cancel := exampleContext()
	defer cancel()
	b := openBus(ctx, "greeter", "deserted")
	defer b.Close()

	s := must(rpc.NewServer(b, rpc.WithDiscovery()))
	check(rpc.Handle(s, "Greet", greet))
	check(s.Listen("greeter"))
	defer s.Close()
	c := must(rpc.NewClient(b, rpc.WithFailFast(time.Second)))
	defer c.Close()

	for _, topic := range []string{"greeter", "deserted"} {
		_, err := rpc.Call[Greeting](ctx, c, topic, "Greet", &GreetRequest{Name: "Ada"})
		fmt.Println(topic, rpc.CodeOf(err))
	}
	// Output:
	// greeter OK
	// deserted Unavailable
}

// Pending calls can be listed, for example on a debug page.
func ExampleClient_Pending() {
	ctx, cancel := exampleContext()
	defer cancel()
	begun, release := make(chan struct{}), make(chan struct{})
	c, done := serveGreeter(ctx, "Wait", func(context.Context, *GreetRequest) (*Greeting, error) {
		close(begun)
		<-release
		return &Greeting{}, nil
	})
	defer done()

	call := rpc.CallAsync[Greeting](ctx, c, "greeter", "Wait", &GreetRequest{}, rpc.Key("Ada"))
	<-begun
	for _, p := range c.Pending() {
		fmt.Println(p.Topic, p.Method, p.Key, "attempt", p.Attempt)
	}
	close(release)
	_, err := call.Reply(ctx)
	fmt.Println(len(c.Pending()), err)
	// Output:
	// greeter Wait Ada attempt 1
	// 0 <nil>
}
