// Command adapter serves devices to a core, by RPC over Kafka; see package devices.
// google/wire assembles it from wire.go.
//
//	go run ./cmd/trunkline dev
//	go run ./examples/core -bus kafka://127.0.0.1:9092
//	go run ./examples/adapter -bus kafka://127.0.0.1:9092
//
// It serves the probes over HTTP. A signal ends it; it then prints a summary. The exit code
// is 0 for success, 1 if something failed or was out of order, and 2 if the command line is
// wrong.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/trunkline/trunkline"
	"github.com/trunkline/trunkline/examples/devices"
	_ "github.com/trunkline/trunkline/transport/kafka" // the scheme kafka
)

const about = `Serve devices to a core, by RPC over Kafka.

examples:
  go run ./cmd/trunkline dev                          # a broker
  go run ./examples/core -bus kafka://127.0.0.1:9092
  go run ./examples/adapter -bus kafka://127.0.0.1:9092`

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

// program is the result of assemble.
type program struct {
	App     *trunkline.App
	Adapter *devices.Adapter
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	fs := flag.NewFlagSet("adapter", flag.ContinueOnError)
	var adapter devices.AdapterConfig
	fs.StringVar(&adapter.Topic, "topic", "devices.adapter", "`topic` to serve; created if it does not exist")
	fs.StringVar(&adapter.CoreTopic, "core-topic", "devices.core", "`topic` of the core")
	defaults := trunkline.DefaultConfig()
	defaults.Service, defaults.BusURL, defaults.ProbeAddr = "adapter", "kafka://127.0.0.1:9092", "127.0.0.1:8081"
	cfg, err := devices.LoadConfig(fs, args, defaults, about, stdout)
	switch {
	case errors.Is(err, flag.ErrHelp):
		return 0
	case err != nil:
		fmt.Fprintln(stderr, "adapter:", err)
		return 2
	}
	adapter.Name = cfg.Service
	adapter.Registered = func(core string) { fmt.Fprintf(stdout, "adapter: registered with the %s\n", core) }
	if err := serve(ctx, cfg, adapter, stdout); err != nil {
		fmt.Fprintln(stderr, "adapter:", err)
		if _, ok := errors.AsType[*trunkline.ConfigError](err); ok {
			return 2
		}
		return 1
	}
	return 0
}

func serve(ctx context.Context, cfg trunkline.Config, adapter devices.AdapterConfig, stdout io.Writer) error {
	adapter.Logger = trunkline.NewLogger(cfg)
	p, cleanup, err := assemble(ctx, cfg, adapter.Logger, adapter)
	if err != nil {
		return err
	}
	defer cleanup()
	fmt.Fprintf(stdout, "adapter: %v\n", cfg)
	fmt.Fprintf(stdout, "adapter: probes at http://%s\n", p.App.Probe.Addr())
	err = p.App.Run(ctx, p.Adapter.Run)
	s := p.Adapter.Ledger().Summary()
	fmt.Fprintf(stdout, "adapter: %d devices enabled in %d steps, in order and as sent; %d repeated, %d violations\n",
		s.Enabled, s.Steps, s.Repeated, len(s.Violations))
	if len(s.Violations) > 0 {
		err = errors.Join(err, errors.New(strings.Join(s.Violations, "; ")))
	}
	return err
}
