// Command assembly shows how a program that google/wire assembles replaces parts of an App.
// Its probe registry has a readiness rule of its own, and its RPC server has a fixed
// instance id.
//
//	go run ./examples/assembly -bus memory://assembly
//
// It calls its own server, prints the response, and ends. The exit code is 0 for success,
// 1 if something failed, and 2 if the command line is wrong.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"syscall"

	"github.com/trunkline/trunkline"
	"github.com/trunkline/trunkline/bus"
	"github.com/trunkline/trunkline/liveness/probe"
	"github.com/trunkline/trunkline/rpc"
	_ "github.com/trunkline/trunkline/transport/kafka"  // the scheme kafka
	_ "github.com/trunkline/trunkline/transport/memory" // the scheme memory
)

// newRegistry replaces trunkline.NewRegistry. The program is ready while its bus and its
// server are ready. The status of other services does not matter.
func newRegistry() *probe.Registry {
	return probe.New(probe.WithReadyRule(func(services []probe.Service) bool {
		ready := 0
		for _, s := range services {
			if (s.Name == trunkline.BusService || s.Name == trunkline.ServerService) && s.Status.Ready() {
				ready++
			}
		}
		return ready == 2
	}))
}

// newServer replaces trunkline.NewServer. It registers the methods of the program.
func newServer(b *bus.Bus, log *slog.Logger) (*rpc.Server, error) {
	server, err := rpc.NewServer(b, rpc.WithLogger(log), rpc.WithInstance("assembly-0"))
	if err != nil {
		return nil, err
	}
	return server, rpc.Handle(server, "Echo", func(_ context.Context, text *string) (*string, error) { return text, nil })
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	fs := flag.NewFlagSet("assembly", flag.ContinueOnError)
	fs.SetOutput(stderr)
	defaults := trunkline.DefaultConfig()
	defaults.Service, defaults.ProbeAddr = "assembly", "127.0.0.1:0"
	cfg, err := trunkline.LoadConfig(fs, args, defaults)
	switch {
	case errors.Is(err, flag.ErrHelp):
		return 0
	case err != nil:
		fmt.Fprintln(stderr, "assembly:", err)
		return 2
	}
	if err := echo(ctx, cfg, stdout); err != nil {
		fmt.Fprintln(stderr, "assembly:", err)
		return 1
	}
	return 0
}

func echo(ctx context.Context, cfg trunkline.Config, stdout io.Writer) error {
	app, cleanup, err := assemble(ctx, cfg, trunkline.NewLogger(cfg))
	if err != nil {
		return err
	}
	defer cleanup()
	ctx, done := context.WithCancel(ctx)
	defer done()
	return app.Run(ctx, app.Serve(bus.TopicSpec{Name: "echo"}), func(ctx context.Context) error {
		if err := app.Registry.WaitReady(ctx); err != nil {
			return err
		}
		text := "hello"
		answer, err := rpc.Call[string](ctx, app.Client, "echo", "Echo", &text)
		if err != nil {
			return err
		}
		fmt.Fprintf(stdout, "%s answered %s\n", app.Server.ID(), *answer)
		done()
		return nil
	})
}
