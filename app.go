package trunkline

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/trunkline/trunkline/bus"
	"github.com/trunkline/trunkline/liveness"
	"github.com/trunkline/trunkline/liveness/probe"
	"github.com/trunkline/trunkline/rpc"
)

// The services of an App in the probe registry.
const (
	// BusService is the service of the monitor: it is ready while the bus is.
	BusService = liveness.DefaultServiceName
	// CheckService is the service of the checker, if the App has one.
	CheckService = liveness.DefaultCheckerName
	// ServerService is the service of App.Serve. It is Running while the RPC server serves
	// its topics.
	ServerService = "rpc-server"
	// AppService is the service of the program itself. It is Running during App.Run, and
	// NotReady from the beginning of the shutdown, so that load balancers send no further
	// work before anything is closed.
	AppService = "app"
)

// App is an assembled program: a bus, an RPC client and server, and probes. [New] makes
// one, or google/wire from the sets of this package; a program may also set the fields
// itself. Every field but Logger and Checker must be set, and must not change after the
// first call of a method. The methods are safe for concurrent use.
type App struct {
	Config   Config
	Logger   *slog.Logger // the default is slog.Default()
	Bus      *bus.Bus
	Client   *rpc.Client
	Server   *rpc.Server
	Registry *probe.Registry
	Monitor  *liveness.Monitor
	Checker  *liveness.Checker // nil if Config.CheckTopics and Config.CheckMinBrokers are not set
	Probe    *probe.Server

	life life
}

// life is the state of an App between its first and last call.
type life struct {
	sync.Mutex
	init    sync.Once
	parts   []namedPart
	invalid error           // the errors that Add has returned
	begun   bool            // Run or Shutdown was called
	bound   context.Context // limits the shutdown; set before closing is closed
	closing chan struct{}   // closed when the shutdown begins
	closed  chan struct{}   // closed when the shutdown has ended
	err     error           // the result of the shutdown; set before closed is closed
}

// lock locks the state, and makes its channels when it is used for the first time, because
// an App may be a plain struct.
func (l *life) lock() {
	l.init.Do(func() { l.closing, l.closed = make(chan struct{}), make(chan struct{}) })
	l.Lock()
}

// beginShutdown begins the shutdown, with bound as the context that limits it, and returns
// true. It returns false if the shutdown has already begun. The caller holds the lock.
func (l *life) beginShutdown(bound context.Context) bool {
	select {
	case <-l.closing:
		return false
	default:
		l.bound = bound
		close(l.closing)
		return true
	}
}

// Run serves the HTTP probes, runs the parts of Add and the given parts, and waits until
// ctx ends, Shutdown is called, or a part returns. It then shuts down in this order:
//
//  1. The probes report that the program is not ready.
//  2. The contexts of the parts end, and Run waits for the parts.
//  3. The RPC server drains, and the RPC client closes.
//  4. The monitor and the checker stop.
//  5. The bus drains and closes.
//  6. The probes stop.
//
// Config.ShutdownTimeout limits the whole shutdown. When it has expired, Run no longer waits
// for parts that have not returned. Run returns nil if the App shuts down gracefully;
// otherwise it returns the errors of the parts and of the shutdown. It can be called once.
func (a *App) Run(ctx context.Context, parts ...Part) error {
	all, err := a.begin(parts)
	if err != nil {
		return err
	}
	a.Registry.Update(AppService, probe.Preparing, nil)
	serving, stopProbes := context.WithCancel(context.WithoutCancel(ctx))
	defer stopProbes()
	probes := make(chan error, 1)
	go func() { probes <- a.Probe.Run(serving) }()
	r := startParts(ctx, a, all)
	a.Registry.Update(AppService, probe.Running, nil)

	select {
	case <-ctx.Done():
	case <-a.life.closing:
	case <-r.first:
		err = r.takeError()
	case served := <-probes:
		err = fmt.Errorf("trunkline: the HTTP probes ended: %w", endedEarly(served))
		probes <- nil // closeAll waits for it
	}
	if err != nil {
		a.logger().Error("the program shuts down because a part of it ended", "error", err)
	}
	bound, cancel := context.WithTimeout(context.WithoutCancel(ctx), a.shutdownTimeout())
	defer cancel()
	a.life.lock()
	a.life.beginShutdown(bound)
	bound = a.life.bound
	a.life.Unlock()
	return errors.Join(err, a.finish(a.closeAll(bound, r, func() error { stopProbes(); return <-probes }))) //nolint:contextcheck // bound is derived from ctx, or from an earlier call of Shutdown
}

// begin returns the parts to run, or an error if Run must not run.
func (a *App) begin(parts []Part) ([]namedPart, error) {
	a.life.lock()
	defer a.life.Unlock()
	switch {
	case a.life.begun:
		return nil, errors.New("trunkline: Run: the App was run or closed before")
	case a.life.invalid != nil:
		return nil, a.life.invalid
	}
	all := a.life.parts
	for _, p := range parts {
		if p == nil {
			return nil, errors.New("trunkline: Run: a part must not be nil")
		}
		all = append(all, namedPart{run: p})
	}
	a.life.begun = true
	return all, nil
}

// Shutdown shuts the App down gracefully, as Run does at its end, within ctx. If Run is
// running, Shutdown makes it end, and Run returns nil if the shutdown is graceful. Without
// Run it closes all parts of the App. Further calls wait for the first one, and return the
// same error.
func (a *App) Shutdown(ctx context.Context) error {
	a.life.lock()
	running := a.life.begun
	a.life.begun = true
	first := a.life.beginShutdown(ctx)
	a.life.Unlock()
	if !running {
		return a.finish(a.closeAll(ctx, nil, a.Probe.Close))
	}
	if first {
		<-a.life.closed // Run closes everything within ctx
		return a.life.err
	}
	select {
	case <-a.life.closed:
		return a.life.err
	case <-ctx.Done():
		return fmt.Errorf("trunkline: the shutdown has not ended yet: %w", ctx.Err())
	}
}

// Close calls Shutdown with a context that ends after Config.ShutdownTimeout.
func (a *App) Close() error {
	ctx, cancel := context.WithTimeout(context.Background(), a.shutdownTimeout())
	defer cancel()
	return a.Shutdown(ctx)
}

// finish sets the result of the shutdown, and ends the calls of Shutdown that wait for it.
func (a *App) finish(err error) error {
	a.life.err = err
	close(a.life.closed)
	return err
}

// closeAll shuts down within ctx. r is nil if Run was not called.
func (a *App) closeAll(ctx context.Context, r *running, stopProbes func() error) error {
	a.Registry.Update(AppService, probe.NotReady, errors.New("the program is shutting down"))
	var errs []error
	if r != nil {
		errs = append(errs, r.stop(ctx))
	} else {
		for _, p := range a.life.parts {
			a.Registry.Update(p.name, probe.Stopped, nil)
		}
	}
	errs = append(errs, a.Server.Shutdown(ctx), a.Client.Shutdown(ctx), a.Monitor.Shutdown(ctx))
	if a.Checker != nil {
		errs = append(errs, a.Checker.Shutdown(ctx))
	}
	errs = append(errs, a.Bus.Shutdown(ctx), stopProbes()) // the probe server has its own shutdown time-out
	return errors.Join(errs...)
}

func (a *App) shutdownTimeout() time.Duration {
	if a.Config.ShutdownTimeout > 0 {
		return a.Config.ShutdownTimeout
	}
	return DefaultConfig().ShutdownTimeout
}

func (a *App) logger() *slog.Logger {
	if a.Logger != nil {
		return a.Logger
	}
	return slog.Default()
}
