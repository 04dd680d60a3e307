package demo

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/trunkline/trunkline"
	"github.com/trunkline/trunkline/bus"
	"github.com/trunkline/trunkline/examples/devices"
)

// Config configures a run. Every exported field must be set.
type Config struct {
	// BusURL is memory://…, chan://…, kafka-embedded:// or kafka://host:port,….
	BusURL string
	// Devices is the number of devices to adopt, and InFlight the number of calls at once.
	Devices, InFlight int
	// Cut is how long the transport is cut; 0 does not cut it.
	Cut time.Duration
	// CallTimeout bounds each call.
	CallTimeout time.Duration
	// Log is the logger of the two programs.
	Log *slog.Logger

	shutdown      time.Duration // bounds the shutdown of each program; 0 means 5 s
	untilObserved bool          // the cut also lasts until HTTP and gRPC have both reported it
}

// Validate returns an error if a field is out of range.
func (c Config) Validate() error {
	switch {
	case c.Devices < 1 || c.Devices > 99_999:
		return fmt.Errorf("-devices must be from 1 to 99999, got %d", c.Devices)
	case c.InFlight < 1:
		return fmt.Errorf("-in-flight must be at least 1, got %d", c.InFlight)
	case c.Cut < 0:
		return fmt.Errorf("-cut must not be negative, got %v: 0 does not cut", c.Cut)
	case c.Cut > 0 && c.Cut < 100*time.Millisecond:
		return fmt.Errorf("-cut must be at least 100ms to be observable, got %v", c.Cut)
	case c.CallTimeout < 100*time.Millisecond:
		return fmt.Errorf("-call-timeout must be at least 100ms, got %v", c.CallTimeout)
	}
	return nil
}

// run is one run of the demo.
type run struct {
	cfg  Config
	out  *Printer
	name string // unique
	net  *network
	// admin is a separate bus. The demo uses it to check that a broker is available, and to
	// delete the topics at the end.
	admin   *bus.Bus
	core    *devices.Core
	adapter *devices.Adapter

	coreProgram, adapterProgram *program
	north                       *devices.Northbound
	watch                       *watcher
	calls                       calls

	cutAt       int // the number of successful calls before the cut; 0 for no cut
	cutOnce     sync.Once
	wasCut      chan struct{} // closed when the transport is cut
	cutTime     time.Time     // set before wasCut is closed
	restoreTime time.Time
}

// Run runs the demo and prints the events to out. It returns an error if the demo could
// not run, or if ctx ended first. Failed checks are in the report.
func Run(ctx context.Context, cfg Config, out *Printer) (*Report, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	name := strings.ToLower(rand.Text()[:8])
	n, err := openNetwork(ctx, cfg.BusURL, name)
	if err != nil {
		return nil, err
	}
	defer n.close()
	return runOn(ctx, n, cfg, name, out)
}

func runOn(ctx context.Context, n *network, cfg Config, name string, out *Printer) (*Report, error) {
	r := &run{cfg: cfg, out: out, name: name, net: n, wasCut: make(chan struct{})}
	if err := r.reach(ctx); err != nil {
		return nil, err
	}
	if r.net.cut != nil && cfg.Cut > 0 {
		r.cutAt = max(1, cfg.Devices*devices.StepsPerDevice/3)
	}

	watching, stopWatching := context.WithCancel(ctx)
	defer stopWatching()
	var watched sync.WaitGroup
	began := time.Now()
	err := r.start(ctx)
	if err == nil {
		watched.Go(func() { r.watch.run(watching) })
		err = r.follow(ctx)
	}
	elapsed := time.Since(began)
	stopWatching()
	watched.Wait()
	if r.watch != nil {
		r.watch.http.CloseIdleConnections()
		_ = r.watch.conn.Close() // all calls have ended
	}
	ended := r.end(ctx)
	if err != nil && r.watch == nil {
		return nil, errors.Join(err, ended)
	}
	return r.report(elapsed, err, ended), nil
}

// reach waits up to ten seconds for the broker.
func (r *run) reach(ctx context.Context) error {
	t, err := r.net.open(ctx)
	if err != nil {
		return err
	}
	r.admin, err = bus.New(t)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	if err := r.admin.Ready(ctx); err != nil {
		return errors.Join(fmt.Errorf("no answer from %s: %w", r.net.what, err), r.admin.Close())
	}
	return nil
}

func (r *run) topic(name string) string { return "trunkline-demo-" + r.name + "." + name }

// start assembles and starts the core, the adapter, and the watcher of the core.
func (r *run) start(ctx context.Context) error {
	r.out.Text("core and adapter use %s", r.net.what)
	core, err := r.assemble(ctx, "core")
	if err != nil {
		return err
	}
	r.core, err = devices.NewCore(core.Bus, core.Client, core.Server, core.Registry, devices.CoreConfig{
		Topic: r.topic("core"), Devices: r.cfg.Devices, InFlight: r.cfg.InFlight, CallTimeout: r.cfg.CallTimeout,
		Registered: func(adapter string) { r.out.Event("core   %s has registered", adapter) },
		Observe:    r.observe, Logger: r.cfg.Log.With("program", "core"),
	})
	if err == nil {
		r.north, err = devices.NewNorthbound("127.0.0.1:0", core.Registry, r.core)
	}
	if err != nil {
		r.coreProgram = start(ctx, core)
		return err
	}
	r.describe(core.Bus.Capabilities())
	r.out.Event("core   starts: probes at http://%s, gRPC at %s", core.Probe.Addr(), r.north.Addr())
	r.coreProgram = start(ctx, core, r.core.Run, r.north.Serve)
	conn, err := grpc.NewClient("passthrough:///"+r.north.Addr().String(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return err
	}
	r.watch = &watcher{out: r.out, reg: core.Registry, url: "http://" + core.Probe.Addr().String(), conn: conn,
		http: &http.Client{Transport: &http.Transport{}, Timeout: 5 * time.Second}, changes: make(chan struct{}, 1)}
	return r.startAdapter(ctx)
}

func (r *run) startAdapter(ctx context.Context) error {
	select {
	case <-r.core.Started():
	case <-r.coreProgram.done:
		return fmt.Errorf("the core ended: %w", r.coreProgram.err)
	case <-ctx.Done():
		return fmt.Errorf("the core did not start: %w", context.Cause(ctx))
	}
	adapter, err := r.assemble(ctx, "adapter")
	if err != nil {
		return err
	}
	r.adapter, err = devices.NewAdapter(adapter.Bus, adapter.Client, adapter.Server, devices.AdapterConfig{
		Topic: r.topic("adapter"), CoreTopic: r.topic("core"), CallTimeout: r.cfg.CallTimeout, Logger: r.cfg.Log.With("program", "adapter"),
		Registered: func(core string) { r.out.Event("adapter has registered with the %s", core) },
	})
	if err != nil {
		r.adapterProgram = start(ctx, adapter)
		return err
	}
	r.out.Event("adapter starts: probes at http://%s", adapter.Probe.Addr())
	r.adapterProgram = start(ctx, adapter, r.adapter.Run)
	return nil
}

func (r *run) assemble(ctx context.Context, service string) (*trunkline.App, error) {
	t, err := r.net.open(ctx)
	if err != nil {
		return nil, err
	}
	cfg := trunkline.DefaultConfig()
	cfg.Service, cfg.ProbeAddr, cfg.ShutdownTimeout = service, "127.0.0.1:0", cmp.Or(r.cfg.shutdown, 5*time.Second)
	return trunkline.New(ctx, cfg, trunkline.WithTransport(t), trunkline.WithLogger(r.cfg.Log.With("program", service)))
}

func (r *run) describe(c bus.Capabilities) {
	for _, lack := range cannot(c) {
		r.out.Text("  transport %s %s", c.Name, lack)
	}
	if r.net.cut == nil {
		r.out.Text("  %s", r.net.noCut)
	}
}
