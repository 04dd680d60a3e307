// Command core adopts devices through an adapter, by RPC over Kafka; see package devices.
// google/wire assembles it from wire.go.
//
//	go run ./cmd/trunkline dev
//	go run ./examples/core -bus kafka://127.0.0.1:9092
//	go run ./examples/adapter -bus kafka://127.0.0.1:9092
//
// It serves the probes over HTTP, and the health service and /trunkline.example.Core/Devices
// over gRPC. A signal ends it. The exit code is 0 for success, 1 if something failed, and 2
// if the command line is wrong.
package main

import (
	"context"
	"crypto/rand"
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
	"github.com/trunkline/trunkline/liveness/probe"
	_ "github.com/trunkline/trunkline/transport/kafka" // the scheme kafka
)

const about = `Adopt devices through an adapter, by RPC over Kafka.

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
	App   *trunkline.App
	Core  *devices.Core
	North *devices.Northbound
}

func newNorthbound(cfg trunkline.Config, reg *probe.Registry, core *devices.Core) (*devices.Northbound, func(), error) {
	n, err := devices.NewNorthbound(cfg.GRPCAddr, reg, core)
	if err != nil {
		return nil, nil, err
	}
	return n, n.Close, nil
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	fs := flag.NewFlagSet("core", flag.ContinueOnError)
	core := devices.CoreConfig{Prefix: "device-" + strings.ToLower(rand.Text()[:8]) + "-"}
	fs.IntVar(&core.Devices, "devices", 1000, "`number` of devices to adopt")
	fs.IntVar(&core.InFlight, "in-flight", 64, "`number` of calls in flight at once")
	fs.StringVar(&core.Topic, "topic", "devices.core", "`topic` to serve; created if it does not exist")
	defaults := trunkline.DefaultConfig()
	defaults.Service, defaults.BusURL, defaults.GRPCAddr = "core", "kafka://127.0.0.1:9092", "127.0.0.1:9090"
	cfg, err := devices.LoadConfig(fs, args, defaults, about, stdout)
	switch {
	case errors.Is(err, flag.ErrHelp):
		return 0
	case err != nil:
		fmt.Fprintln(stderr, "core:", err)
		return 2
	}
	if err := serve(ctx, cfg, core, stdout); err != nil {
		fmt.Fprintln(stderr, "core:", err)
		if _, ok := errors.AsType[*trunkline.ConfigError](err); ok {
			return 2
		}
		return 1
	}
	return 0
}

func serve(ctx context.Context, cfg trunkline.Config, core devices.CoreConfig, stdout io.Writer) error {
	core.Logger = trunkline.NewLogger(cfg)
	p, cleanup, err := assemble(ctx, cfg, core.Logger, core)
	if err != nil {
		return err
	}
	defer cleanup()
	fmt.Fprintf(stdout, "core: %v\n", cfg)
	fmt.Fprintf(stdout, "core: probes at http://%s, gRPC at %s\n", p.App.Probe.Addr(), p.North.Addr())
	announce := func(ctx context.Context) error {
		select {
		case <-p.Core.Enabled():
			progress := p.Core.Progress()
			fmt.Fprintf(stdout, "core: all %d devices are enabled; %d calls failed and were repeated\n", progress.Enabled, progress.Failed)
		case <-ctx.Done():
		}
		<-ctx.Done()
		return nil
	}
	return p.App.Run(ctx, p.Core.Run, p.North.Serve, announce)
}
