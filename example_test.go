package trunkline_test

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/trunkline/trunkline"
	"github.com/trunkline/trunkline/bus"
	"github.com/trunkline/trunkline/rpc"
	_ "github.com/trunkline/trunkline/transport/memory" // the scheme memory
)

type GreetRequest struct{ Name string }
type Greeting struct{ Text string }

// What google/wire generates from trunkline.Set, by hand, and what a program does with
// it.
func Example() {
	cfg := trunkline.DefaultConfig()
	cfg.BusURL, cfg.ProbeAddr = "memory://example", "127.0.0.1:0"
	if err := cfg.Validate(); err != nil {
		fmt.Println(err)
		return
	}
	app, cleanup, err := assemble(context.Background(), cfg, slog.New(slog.DiscardHandler))
	if err != nil {
		fmt.Println(err)
		return
	}
	defer cleanup()

	rpc.Handle(app.Server, "Greet", func(_ context.Context, req *GreetRequest) (*Greeting, error) {
		return &Greeting{Text: "hello " + req.Name}, nil
	})
	ctx, stop := context.WithTimeout(context.Background(), time.Minute)
	defer stop()
	err = app.Run(ctx, func(ctx context.Context) error {
		if err := app.Bus.EnsureTopic(ctx, bus.TopicSpec{Name: "greeter"}); err != nil {
			return err
		}
		if err := app.Server.Listen("greeter"); err != nil {
			return err
		}
		return app.Server.Run(ctx)
	}, func(ctx context.Context) error {
		if err := app.Registry.WaitReady(ctx); err != nil {
			return err
		}
		greeting, err := rpc.Call[Greeting](ctx, app.Client, "greeter", "Greet", &GreetRequest{Name: "Ada"},
			rpc.Retry(rpc.RetryPolicy{Max: 100, Codes: tryAgain}))
		if err != nil {
			return err
		}
		fmt.Println(greeting.Text)
		stop() // a program is stopped by a signal
		return nil
	})
	fmt.Println(err)
	// Output:
	// hello Ada
	// <nil>
}
