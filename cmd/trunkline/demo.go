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
	fs.IntVar(&cfg.Devices, "devices", 1000, "`number` of devices to adopt")
	fs.IntVar(&cfg.InFlight, "in-flight", 64, "`number` of calls in flight at once")
	fs.DurationVar(&cfg.Cut, "cut", 3*time.Second, "how long to cut the transport; 0 does not cut it")
	fs.DurationVar(&cfg.CallTimeout, "call-timeout", 5*time.Second, "how long a call may take before the core repeats it")
	timeout := fs.Duration("timeout", 2*time.Minute, "limit for the whole command")
	asJSON := fs.Bool("json", false, "print the result as JSON, and the events to standard error")
	verbose := fs.Bool("v", false, "print the logs of core and adapter to standard error")
	return &ffcli.Command{
		Name:       "demo",
		ShortUsage: "trunkline demo [flags]",
		ShortHelp:  "Run a core and an adapter, cut their transport, and check that both recover.",
		LongHelp: `A core adopts devices through an adapter by RPC over the bus, with three calls for each
device, in order. After a third of the calls the demo cuts the transport: it disconnects
the in-memory log, or resets and refuses the connections to Kafka. It then checks that
both programs report over HTTP and gRPC that they are not ready, and that they are ready
again after the cut; that each call ends with its own response or an error; and that
every device is enabled in the end, because the core repeats the calls that failed.

EXAMPLES
  trunkline demo
  trunkline demo -bus chan://                          Go channels, which cannot be cut
  trunkline demo -bus kafka-embedded://                an embedded Kafka broker
  trunkline demo -bus kafka://127.0.0.1:9092 -cut 10s  a Kafka broker of your own
  trunkline demo -devices 100 -json                    the result as JSON

EXIT CODES
  0    every check passed
  1    a check failed: a call was lost, out of order or answered wrongly, or a probe was wrong
  2    the command line is wrong
  3    the demo could not run: no broker, a port in use
  130  interrupted by a signal`,
		FlagSet: fs,
		Exec: func(ctx context.Context, args []string) error {
			if err := noArguments(args); err != nil {
				return err
			}
			if *timeout <= 0 {
				return usageError("-timeout must be greater than 0, got %v", *timeout)
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
	bounded, cancel := context.WithTimeoutCause(ctx, timeout, timeoutError(timeout))
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
		return &exitError{code: exitFailed}
	default:
		return nil
	}
}
