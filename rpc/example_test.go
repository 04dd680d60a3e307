package rpc_test

import (
	"context"
	"errors"
	"fmt"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/trunkline/trunkline/bus"
	"github.com/trunkline/trunkline/rpc"
	_ "github.com/trunkline/trunkline/transport/memory" // memory://
)

type GreetRequest struct{ Name string }

type Greeting struct{ Text string }

// A server and a client, here on one bus in one process.
func Example() {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	b, err := bus.Open(ctx, "memory://")
	if err != nil {
		panic(err)
	}
	defer b.Close()
	if err := b.EnsureTopic(ctx, bus.TopicSpec{Name: "greeter"}); err != nil {
		panic(err)
	}

	// The server.
	s, err := rpc.NewServer(b)
	if err != nil {
		panic(err)
	}
	rpc.Handle(s, "Greet", func(_ context.Context, req *GreetRequest) (*Greeting, error) {
		return &Greeting{Text: "hello " + req.Name}, nil
	})
	if err := s.Listen("greeter"); err != nil {
		panic(err)
	}
	defer s.Shutdown(ctx)

	// The client.
	c, err := rpc.NewClient(b)
	if err != nil {
		panic(err)
	}
	defer c.Close()
	greeting, err := rpc.Call[Greeting](ctx, c, "greeter", "Greet", &GreetRequest{Name: "Ada"})
	fmt.Println(greeting.Text, err)
	// Output: hello Ada <nil>
}

// An error says whether the server answered with it, and carries its status.
func ExampleError() {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	b, err := bus.Open(ctx, "memory://")
	if err != nil {
		panic(err)
	}
	defer b.Close()
	if err := b.EnsureTopic(ctx, bus.TopicSpec{Name: "greeter"}); err != nil {
		panic(err)
	}
	s, err := rpc.NewServer(b)
	if err != nil {
		panic(err)
	}
	rpc.Handle(s, "Greet", func(_ context.Context, req *GreetRequest) (*Greeting, error) {
		return nil, status.Errorf(codes.NotFound, "nobody is called %s", req.Name)
	})
	if err := s.Listen("greeter"); err != nil {
		panic(err)
	}
	defer s.Shutdown(ctx)
	c, err := rpc.NewClient(b)
	if err != nil {
		panic(err)
	}
	defer c.Close()

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

// A call is made again, under the same id, when it fails as the policy says.
func ExampleRetry() {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	b, err := bus.Open(ctx, "memory://")
	if err != nil {
		panic(err)
	}
	defer b.Close()
	if err := b.EnsureTopic(ctx, bus.TopicSpec{Name: "greeter"}); err != nil {
		panic(err)
	}
	s, err := rpc.NewServer(b)
	if err != nil {
		panic(err)
	}
	rpc.Handle(s, "Greet", func(ctx context.Context, req *GreetRequest) (*Greeting, error) {
		if call, _ := rpc.FromContext(ctx); call.Attempt == 1 {
			return nil, status.Error(codes.Unavailable, "still in bed")
		}
		return &Greeting{Text: "hello " + req.Name}, nil
	})
	if err := s.Listen("greeter"); err != nil {
		panic(err)
	}
	defer s.Shutdown(ctx)
	c, err := rpc.NewClient(b)
	if err != nil {
		panic(err)
	}
	defer c.Close()

	greeting, err := rpc.Call[Greeting](ctx, c, "greeter", "Greet", &GreetRequest{Name: "Ada"},
		rpc.Key("Ada"), rpc.Timeout(5*time.Second), rpc.Retry(rpc.RetryPolicy{
			Max:     3,
			OnRetry: func(e rpc.RetryEvent) { fmt.Println("attempt", e.Attempt, "failed:", e.Err.Message()) },
		}))
	fmt.Println(greeting.Text, err)
	// Output:
	// attempt 1 failed: still in bed
	// hello Ada <nil>
}
