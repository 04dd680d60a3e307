package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"time"

	"github.com/peterbourgon/ff/v3/ffcli"

	"github.com/trunkline/trunkline/cmd/trunkline/internal/demo"
)

func demoCommand(stdout, stderr io.Writer) *ffcli.Command {
	fs := flag.NewFlagSet("trunkline demo", flag.ContinueOnError)
	var cfg demo.Config
	fs.StringVar(&cfg.BusURL, "bus", "memory://demo", "`URL` of the bus: memory://name, chan://, kafka-embedded:// or kafka://host:port,host:port")
	fs.IntVar(&cfg.Devices, "devices", 1000, "how many devices are adopted")
	fs.IntVar(&cfg.InFlight, "in-flight", 64, "how many calls are made at once")
	fs.DurationVar(&cfg.Cut, "cut", 3*time.Second, "how long the transport is cut; 0 for not at all")
	fs.DurationVar(&cfg.CallTimeout, "call-timeout", 5*time.Second, "how long a call may take before it is made again")
	timeout := fs.Duration("timeout", 2*time.Minute, "how long the whole may take")
	asJSON := fs.Bool("json", false, "print the result as JSON, and what happens to standard error")
	verbose := fs.Bool("v", false, "print what core and adapter log, to standard error")
	return &ffcli.Command{
		Name:       "demo",
		ShortUsage: "trunkline demo [flags]",
		ShortHelp:  "Run a core and an adapter, cut the transport under them, and check that all comes right.",
		LongHelp: `A core adopts devices on an adapter by RPC over the bus, three calls each, in order.
After a third of the calls the transport is cut: the in-memory log is disconnected,
Kafka's connections are reset and refused. Readiness has to go, over HTTP and gRPC,
and to return with the transport; every call has to end with its answer or an error;
what failed is called again until every device is enabled.

EXAMPLES
  trunkline demo
  trunkline demo -bus chan://                          Go channels; nothing to cut
  trunkline demo -bus kafka-embedded://                a Kafka broker in this process
  trunkline demo -bus kafka://127.0.0.1:9092 -cut 10s  your broker
  trunkline demo -devices 100 -json                    the result for a program

` + exitHelp,
		FlagSet: fs,
		Exec: func(ctx context.Context, args []string) error {
			if err := noArguments(args); err != nil {
				return err
			}
			if *timeout <= 0 {
				return usageError("-timeout is not over zero")
			}
			if err := cfg.Validate(); err != nil {
				return &exitError{exitUsage, err}
			}
			cfg.Log = slog.New(slog.DiscardHandler)
			if *verbose {
				cfg.Log = slog.New(slog.NewTextHandler(stderr, &slog.HandlerOptions{Level: slog.LevelDebug}))
			}
			events := stdout
			if *asJSON {
				events = stderr
			}
			return runDemo(ctx, cfg, *timeout, *asJSON, stdout, demo.NewPrinter(events))
		},
	}
}

func runDemo(ctx context.Context, cfg demo.Config, timeout time.Duration, asJSON bool, stdout io.Writer, out *demo.Printer) error {
	bounded, cancel := context.WithTimeoutCause(ctx, timeout, fmt.Errorf("not done within %v (see -timeout)", timeout))
	defer cancel()
	out.Text("trunkline demo: %d devices, 3 calls each, %d in flight", cfg.Devices, cfg.InFlight)
	report, err := demo.Run(bounded, cfg, out)
	switch {
	case ctx.Err() != nil:
		return &exitError{exitInterrupted, errors.New("interrupted")}
	case err != nil:
		return cannotRun(err)
	case asJSON:
		err = report.WriteJSON(stdout)
	default:
		out.Text("")
		err = report.WriteTable(stdout)
	}
	switch {
	case err != nil:
		return fmt.Errorf("write the report: %w", err)
	case !report.OK:
		return &exitError{code: exitCheck}
	default:
		return nil
	}
}
