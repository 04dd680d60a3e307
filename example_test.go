package trunkline_test

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"time"

	"github.com/trunkline/trunkline"
	"github.com/trunkline/trunkline/bus"
	"github.com/trunkline/trunkline/rpc"
	"github.com/trunkline/trunkline/rpc/presence"
	_ "github.com/trunkline/trunkline/transport/memory" // the scheme memory
)

type GreetRequest struct{ Name string }
type Greeting struct{ Text string }

// A program with an RPC server and a client on the in-memory log.
func Example() {
	cfg := trunkline.DefaultConfig() // a program calls trunkline.LoadConfig
	cfg.BusURL, cfg.ProbeAddr = "memory://example", "127.0.0.1:0"
	app, err := trunkline.New(context.Background(), cfg)
	if err != nil {
		fmt.Println(err)
		return
	}
	err = rpc.Handle(app.Server, "Greet", func(_ context.Context, req *GreetRequest) (*Greeting, error) {
		return &Greeting{Text: "hello " + req.Name}, nil
	})
	if err != nil {
		fmt.Println(err)
	}

	ctx, stop := context.WithCancel(context.Background()) // a program calls signal.NotifyContext
	defer stop()
	err = app.Run(ctx, app.Serve(bus.TopicSpec{Name: "greeter"}), func(ctx context.Context) error {
		if err := app.Registry.WaitReady(ctx); err != nil {
			return err
		}
		greeting, err := rpc.Call[Greeting](ctx, app.Client, "greeter", "Greet", &GreetRequest{Name: "Ada"})
		if err != nil {
			return err
		}
		fmt.Println(greeting.Text)
		stop()
		return nil
	})
	fmt.Println(err)
	// Output:
	// hello Ada
	// <nil>
}

// The options add an interceptor, a default for all subscriptions, and discovery with a
// shorter interval.
func ExampleNew_options() {
	cfg := trunkline.DefaultConfig()
	cfg.BusURL, cfg.ProbeAddr = "memory://options", "127.0.0.1:0"
	app, err := trunkline.New(context.Background(), cfg,
		trunkline.WithRPCOptions(rpc.WithInterceptors(rpc.Logging(nil))),
		trunkline.WithBusOptions(bus.WithSubscribeDefaults(bus.DeadLetterTopic("dead"))),
		trunkline.WithServerOptions(rpc.WithDiscovery(presence.WithInterval(time.Second))),
	)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(app.Close())
	// Output: <nil>
}

// A part has a name and a service in the probe registry. Run starts it, and shuts the
// program down if it ends.
func ExampleApp_Add() {
	cfg := trunkline.DefaultConfig()
	cfg.BusURL, cfg.ProbeAddr = "memory://add", "127.0.0.1:0"
	app, err := trunkline.New(context.Background(), cfg)
	if err != nil {
		fmt.Println(err)
		return
	}
	err = app.Add("clock", func(ctx context.Context) error {
		fmt.Println("tick")
		return errors.New("the clock is broken")
	})
	if err != nil {
		fmt.Println(err)
	}
	fmt.Println(app.Run(context.Background()))
	// Output:
	// tick
	// trunkline: part "clock": the clock is broken
}

// A program with an environment prefix of its own.
func ExampleLoadConfig() {
	_ = os.Setenv("BILLING_BUS", "kafka://broker:9092") // the environment of the process
	fs := flag.NewFlagSet("billing", flag.ContinueOnError)
	cfg, err := trunkline.LoadConfig(fs, []string{"-service", "billing"}, trunkline.DefaultConfig(), trunkline.EnvPrefix("BILLING"))
	fmt.Println(cfg.Service, cfg.BusURL, err)
	// Output: billing kafka://broker:9092 <nil>
}
