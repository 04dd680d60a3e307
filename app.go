package trunkline

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/trunkline/trunkline/bus"
	"github.com/trunkline/trunkline/liveness"
	"github.com/trunkline/trunkline/liveness/probe"
	"github.com/trunkline/trunkline/rpc"
)

// The services in the probe registry.
const (
	// BusService is the message bus, kept by the monitor.
	BusService = liveness.DefaultServiceName
	// CheckService is the brokers and topics, kept by the checker of a program that has one.
	CheckService = liveness.DefaultCheckerName
	// AppService is the program: Running during App.Run, NotReady once it is shutting
	// down, so that load balancers turn away before anything is closed.
	AppService = "app"
)

// App is the assembled whole. Its fields are set by a provider set, or by hand, and
// not changed any more; they are the caller's to use.
type App struct {
	Config   Config
	Bus      *bus.Bus
	Client   *rpc.Client
	Server   *rpc.Server
	Monitor  *liveness.Monitor
	Checker  *liveness.Checker // nil unless Config.CheckTopics or Config.CheckMinBrokers asks for one
	Registry *probe.Registry
	Probe    *probe.Server
}

// Part is something a program runs beside the App: it ends when ctx does, and then
// returns nil. Returning before that, with an error or without, ends the App.
type Part func(ctx context.Context) error

// Run starts the HTTP probes, runs the parts, and waits until ctx ends or a part returns. It then shuts down, in this order: the probes say not ready; the
// parts' context ends, and they are waited for; the RPC server drains; the RPC client
// closes; the monitor and the checker stop; the bus drains and closes; the probes stop. All of it is
// bounded by Config.ShutdownTimeout, after which parts that have not returned are left
// behind. Run returns the errors of what failed, and nil when ctx ended it and
// everything closed cleanly. It can be called once.
func (a *App) Run(ctx context.Context, parts ...Part) error {
	a.Registry.Update(AppService, probe.Preparing, nil)
	serving, stopProbes := context.WithCancel(context.WithoutCancel(ctx))
	defer stopProbes()
	probes := make(chan error, 1)
	go func() { probes <- a.Probe.Run(serving) }()
	r := start(ctx, parts)
	a.Registry.Update(AppService, probe.Running, nil)

	var err error
	select {
	case <-ctx.Done():
	case <-r.first:
		err = r.reason()
	case served := <-probes:
		err = fmt.Errorf("trunkline: the HTTP probes ended: %w", orUnexpected(served))
		probes <- nil // it has been told
	}
	return errors.Join(err, a.shutdown(r, stopProbes, probes))
}

func (a *App) shutdown(r *running, stopProbes context.CancelFunc, probes <-chan error) error {
	a.Registry.Update(AppService, probe.NotReady, errors.New("the program is shutting down"))
	ctx, cancel := context.WithTimeout(context.Background(), a.Config.ShutdownTimeout)
	defer cancel()
	errs := []error{r.stop(ctx)}
	errs = append(errs, a.Server.Shutdown(ctx), bounded(ctx, "the RPC client", a.Client.Close), a.Monitor.Shutdown(ctx))
	if a.Checker != nil {
		errs = append(errs, a.Checker.Shutdown(ctx))
	}
	errs = append(errs, a.Bus.Shutdown(ctx))
	stopProbes()
	errs = append(errs, <-probes) // bounded by the probe server's own stop time-out
	return errors.Join(errs...)
}

// running are the parts that run.
type running struct {
	cancel context.CancelFunc
	first  chan struct{} // closed when a part has returned
	all    chan struct{} // closed when every part has

	mu  sync.Mutex
	err error // of the part that returned first
	one sync.Once
}

func start(ctx context.Context, parts []Part) *running {
	ctx, cancel := context.WithCancel(ctx)
	r := &running{cancel: cancel, first: make(chan struct{}), all: make(chan struct{})}
	var wg sync.WaitGroup
	for _, p := range parts {
		wg.Go(func() {
			err := p(ctx)
			if ctx.Err() == nil || err != nil {
				r.ended(orUnexpected(err))
			}
		})
	}
	go func() {
		wg.Wait()
		close(r.all)
	}()
	return r
}

func (r *running) ended(err error) {
	r.mu.Lock()
	r.err = errors.Join(r.err, err)
	r.mu.Unlock()
	r.one.Do(func() { close(r.first) })
}

// reason returns why the parts ended so far, and forgets it.
func (r *running) reason() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	err := r.err
	r.err = nil
	return err
}

// stop ends the parts and returns what they failed with that was not told yet.
func (r *running) stop(ctx context.Context) error {
	if r.cancel == nil {
		return nil
	}
	r.cancel()
	select {
	case <-r.all:
		return r.reason()
	case <-ctx.Done():
		return errors.Join(r.reason(), fmt.Errorf("trunkline: a part of the program did not end in time: %w", ctx.Err()))
	}
}

func orUnexpected(err error) error {
	if err == nil {
		return errors.New("trunkline: a part of the program ended by itself")
	}
	return err
}

// bounded waits for close only as long as ctx allows; it ends by itself soon after.
func bounded(ctx context.Context, what string, close func() error) error {
	done := make(chan error, 1)
	go func() { done <- close() }()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		select {
		case err := <-done:
			return err
		case <-time.After(time.Second):
			return fmt.Errorf("trunkline: %s did not close in time: %w", what, ctx.Err())
		}
	}
}
