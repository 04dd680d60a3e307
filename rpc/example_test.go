package rpc_test

import (
	"context"
	"fmt"
	"time"

	"github.com/trunkline/trunkline/bus"
	"github.com/trunkline/trunkline/rpc"
	_ "github.com/trunkline/trunkline/transport/memory" // memory://
)

type GreetRequest struct{ Name string }

type Greeting struct{ Text string }

func greet(_ context.Context, req *GreetRequest) (*Greeting, error) {
	return &Greeting{Text: "hello " + req.Name}, nil
}

// exampleContext bounds an example.
func exampleContext() (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.Background(), 30*time.Second)
}

// openBus returns a bus in memory with these topics.
func openBus(ctx context.Context, topics ...string) *bus.Bus {
	b := must(bus.Open(ctx, "memory://"))
	for _, t := range topics {
		check(b.EnsureTopic(ctx, bus.TopicSpec{Name: t}))
	}
	return b
}

func must[T any](v T, err error) T {
	check(err)
	return v
}

func check(err error) {
	if err != nil {
		panic(err)
	}
}

// A server and a client, here on one bus in one process.
func Example() {
	ctx, cancel := exampleContext()
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
	err = rpc.Handle(s, "Greet", func(_ context.Context, req *GreetRequest) (*Greeting, error) {
		return &Greeting{Text: "hello " + req.Name}, nil
	})
	if err != nil {
		panic(err)
	}
	if err := s.Listen("greeter"); err != nil {
		panic(err)
	}
	defer s.Close()

	// The client.
	c, err := rpc.NewClient(b)
	if err != nil {
		panic(err)
	}
	defer c.Close()
	greeting, err := rpc.Call[Greeting](ctx, c, "greeter", "Greet", &GreetRequest{Name: "Ada"})
	if err != nil {
		panic(err)
	}
	fmt.Println(greeting.Text)
	// Output: hello Ada
}

// A server may listen on several topics. Run ends with its context, after a graceful
// shutdown.
func ExampleServer_Run() {
	ctx, cancel := exampleContext()
	defer cancel()
	b := openBus(ctx, "greeter", "welcomer")
	defer b.Close()

	s := must(rpc.NewServer(b))
	check(rpc.Handle(s, "Greet", greet))
	check(s.Listen("greeter"))
	check(s.Listen("welcomer"))
	serving, stop := context.WithCancel(ctx)
	ran := make(chan error, 1)
	go func() { ran <- s.Run(serving) }()

	c := must(rpc.NewClient(b))
	defer c.Close()
	for _, topic := range []string{"greeter", "welcomer"} {
		greeting := must(rpc.Call[Greeting](ctx, c, topic, "Greet", &GreetRequest{Name: "Ada"}))
		fmt.Println(topic+":", greeting.Text)
	}
	stop()
	fmt.Println("Run returned", <-ran)
	// Output:
	// greeter: hello Ada
	// welcomer: hello Ada
	// Run returned <nil>
}

// The servers of a group share the requests. At most one handler runs at a time here.
func ExampleNewServer() {
	ctx, cancel := exampleContext()
	defer cancel()
	b := openBus(ctx, "greeter")
	defer b.Close()

	s, err := rpc.NewServer(b, bus.Group("greeters"), bus.Concurrency(1), rpc.WithInstance("greeter-0"))
	if err != nil {
		panic(err)
	}
	check(rpc.Handle(s, "Greet", greet))
	check(s.Listen("greeter"))
	defer s.Close()
	check(s.Ready(ctx))
	fmt.Println(s.ID(), "is ready")
	// Output: greeter-0 is ready
}

// A service lists its methods in one place.
func ExampleServer_Register() {
	ctx, cancel := exampleContext()
	defer cancel()
	b := openBus(ctx, "greeter")
	defer b.Close()

	s := must(rpc.NewServer(b))
	check(s.Register(rpc.Service{
		Name:    "greeter",
		Version: "1.2.0",
		Methods: []rpc.Method{
			rpc.NewMethod("Greet", greet),
			rpc.NewMethod("Shout", func(ctx context.Context, req *GreetRequest) (*Greeting, error) {
				return &Greeting{Text: "HELLO " + req.Name}, nil
			}),
		},
	}))
	check(s.Listen("greeter"))
	defer s.Close()

	c := must(rpc.NewClient(b))
	defer c.Close()
	fmt.Println(must(rpc.Call[Greeting](ctx, c, "greeter", "Shout", &GreetRequest{Name: "Ada"})).Text)
	// Output: HELLO Ada
}

// A raw method decodes its request and encodes its response itself. Callers may send any
// body.
func ExampleServer_HandleFunc() {
	ctx, cancel := exampleContext()
	defer cancel()
	b := openBus(ctx, "echo")
	defer b.Close()

	s := must(rpc.NewServer(b))
	check(s.HandleFunc("Echo", func(_ context.Context, req *rpc.Request) (*rpc.Response, error) {
		return &rpc.Response{ContentType: req.ContentType, Body: req.Body}, nil
	}))
	check(s.Listen("echo"))
	defer s.Close()

	c := must(rpc.NewClient(b))
	defer c.Close()
	resp := must(c.Invoke(ctx, &rpc.Request{Topic: "echo", Method: "Echo", ContentType: "text/plain", Body: []byte("as it is")}))
	fmt.Println(resp.ContentType, string(resp.Body))
	// Output: text/plain as it is
}

// A handler can see which call it answers.
func ExampleFromContext() {
	ctx, cancel := exampleContext()
	defer cancel()
	b := openBus(ctx, "greeter")
	defer b.Close()

	s := must(rpc.NewServer(b))
	check(rpc.Handle(s, "Greet", func(ctx context.Context, _ *GreetRequest) (*Greeting, error) {
		call, _ := rpc.FromContext(ctx)
		return &Greeting{Text: fmt.Sprint(call.Method, " for key ", call.Key, ", tenant ", call.Metadata["tenant"])}, nil
	}))
	check(s.Listen("greeter"))
	defer s.Close()

	c := must(rpc.NewClient(b))
	defer c.Close()
	greeting := must(rpc.Call[Greeting](ctx, c, "greeter", "Greet", &GreetRequest{}, rpc.Key("Ada"), rpc.Header("tenant", "acme")))
	fmt.Println(greeting.Text)
	// Output: Greet for key Ada, tenant acme
}

// An interceptor wraps every call of a client, or every handler of a server.
func ExampleInterceptor() {
	ctx, cancel := exampleContext()
	defer cancel()
	b := openBus(ctx, "greeter")
	defer b.Close()

	trace := func(side string) rpc.Interceptor {
		return func(next rpc.Func) rpc.Func {
			return func(ctx context.Context, req *rpc.Request) (*rpc.Response, error) {
				fmt.Println(side, "begins", req.Method)
				resp, err := next(ctx, req)
				fmt.Println(side, "ends", req.Method, rpc.CodeOf(err))
				return resp, err
			}
		}
	}
	s := must(rpc.NewServer(b, rpc.WithInterceptors(trace("server"))))
	check(rpc.Handle(s, "Greet", greet))
	check(s.Listen("greeter"))
	defer s.Close()
	c := must(rpc.NewClient(b, rpc.WithInterceptors(trace("client"))))
	defer c.Close()
	must(rpc.Call[Greeting](ctx, c, "greeter", "Greet", &GreetRequest{Name: "Ada"}))
	// Output:
	// client begins Greet
	// server begins Greet
	// server ends Greet OK
	// client ends Greet OK
}
