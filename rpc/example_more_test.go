package rpc_test

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/trunkline/trunkline/bus"
	"github.com/trunkline/trunkline/rpc"
)

// greeters returns a client, and a topic with n servers that all get every request.
func greeters(ctx context.Context, n int) (c *rpc.Client, topic string, done func()) {
	b, err := bus.Open(ctx, "memory://")
	if err != nil {
		panic(err)
	}
	if err := b.EnsureTopic(ctx, bus.TopicSpec{Name: "greeter"}); err != nil {
		panic(err)
	}
	for i := range n {
		s, err := rpc.NewServer(b, bus.NoGroup(), rpc.WithInstance(fmt.Sprint("greeter-", i)))
		if err != nil {
			panic(err)
		}
		rpc.Handle(s, "Greet", func(_ context.Context, req *GreetRequest) (*Greeting, error) {
			return &Greeting{Text: "hello " + req.Name}, nil
		})
		if err := s.Listen("greeter"); err != nil {
			panic(err)
		}
		if err := s.Ready(ctx); err != nil {
			panic(err)
		}
	}
	if c, err = rpc.NewClient(b); err != nil {
		panic(err)
	}
	return c, "greeter", func() { c.Close(); b.Close() }
}

// A call that is waited for later.
func ExampleCallAsync() {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	c, topic, done := greeters(ctx, 1)
	defer done()

	call := rpc.CallAsync[Greeting](ctx, c, topic, "Greet", &GreetRequest{Name: "Ada"})
	fmt.Println("sent:", call.Sent(ctx) == nil)
	greeting, err := call.Reply(ctx)
	fmt.Println(greeting.Text, err)
	// Output:
	// sent: true
	// hello Ada <nil>
}

// Every instance of a service is asked.
func ExampleGather() {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	c, topic, done := greeters(ctx, 3)
	defer done()

	answers, err := rpc.Gather[Greeting](ctx, c, topic, "Greet", &GreetRequest{Name: "Ada"}, rpc.Expect(3))
	slices.SortFunc(answers, func(a, b rpc.Answer[Greeting]) int { return int(a.Server[8]) - int(b.Server[8]) })
	for _, a := range answers {
		fmt.Println(a.Server, a.Resp.Text)
	}
	fmt.Println(err)
	// Output:
	// greeter-0 hello Ada
	// greeter-1 hello Ada
	// greeter-2 hello Ada
	// <nil>
}

// A request that nobody answers: nil says that the transport's log has it.
func ExampleSend() {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	c, topic, done := greeters(ctx, 1)
	defer done()

	fmt.Println(rpc.Send(ctx, c, topic, "Greet", &GreetRequest{Name: "Ada"}))
	// Output: <nil>
}
