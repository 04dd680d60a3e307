// Command greeter is the smallest complete program: an RPC server, a client that calls it,
// probes over HTTP, and a bus that the flag -bus selects.
//
//	go run ./examples/greeter -bus memory://greeter Ada Grace
//	go run ./examples/greeter -bus chan://greeter Ada
//	go run ./examples/greeter -bus kafka://127.0.0.1:9092 Ada
//
// It prints a greeting for each name and ends. The exit code is 0 for success, 1 if
// something failed, and 2 if the command line is wrong.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/trunkline/trunkline"
	"github.com/trunkline/trunkline/bus"
	"github.com/trunkline/trunkline/rpc"
	_ "github.com/trunkline/trunkline/transport/gochannel" // the scheme chan
	_ "github.com/trunkline/trunkline/transport/kafka"     // the scheme kafka
	_ "github.com/trunkline/trunkline/transport/memory"    // the scheme memory
)

const topic = "greeter"

type greetRequest struct{ Name string }
type greeting struct{ Text string }

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	fs := flag.NewFlagSet("greeter", flag.ContinueOnError)
	fs.SetOutput(stderr)
	defaults := trunkline.DefaultConfig()
	defaults.Service, defaults.ProbeAddr = "greeter", "127.0.0.1:0"
	cfg, err := trunkline.LoadConfig(fs, args, defaults)
	switch {
	case errors.Is(err, flag.ErrHelp):
		return 0
	case err != nil:
		fmt.Fprintln(stderr, "greeter:", err)
		return 2
	}
	if err := greet(ctx, cfg, fs.Args(), stdout); err != nil {
		fmt.Fprintln(stderr, "greeter:", err)
		if _, ok := errors.AsType[*trunkline.ConfigError](err); ok {
			return 2
		}
		return 1
	}
	return 0
}

func greet(ctx context.Context, cfg trunkline.Config, names []string, stdout io.Writer) error {
	app, cleanup, err := assemble(ctx, cfg, trunkline.NewLogger(cfg))
	if err != nil {
		return err
	}
	defer cleanup()
	err = rpc.Handle(app.Server, "Greet", func(_ context.Context, req *greetRequest) (*greeting, error) {
		return &greeting{Text: "hello " + req.Name}, nil
	})
	if err != nil {
		return err
	}
	ctx, done := context.WithCancel(ctx)
	defer done()
	return app.Run(ctx, app.Serve(bus.TopicSpec{Name: topic}), func(ctx context.Context) error {
		if err := app.Registry.WaitReady(ctx); err != nil {
			return err
		}
		for _, name := range names {
			answer, err := rpc.Call[greeting](ctx, app.Client, topic, "Greet", greetRequest{Name: name}, rpc.Key(name))
			if err != nil {
				return err
			}
			fmt.Fprintln(stdout, answer.Text)
		}
		done()
		return nil
	})
}
