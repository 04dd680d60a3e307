package demo

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/trunkline/trunkline"
	"github.com/trunkline/trunkline/bus/driver"
	"github.com/trunkline/trunkline/liveness/probe"
)

// assemble makes by hand what google/wire generates for the example programs: the
// providers are plain constructors.
func assemble(t driver.Transport, cfg trunkline.Config, log *slog.Logger) (*trunkline.App, error) {
	var cleanups []func()
	undo := func(err error) (*trunkline.App, error) {
		for i := len(cleanups) - 1; i >= 0; i-- {
			cleanups[i]()
		}
		return nil, err
	}
	reg := probe.New()
	b, done, err := trunkline.NewBusOn(t, cfg, log)
	if err != nil {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		return nil, errors.Join(err, t.Close(ctx))
	}
	cleanups = append(cleanups, done)
	client, done, err := trunkline.NewClient(cfg, b, log)
	if err != nil {
		return undo(err)
	}
	cleanups = append(cleanups, done)
	server, done, err := trunkline.NewServer(cfg, b, log)
	if err != nil {
		return undo(err)
	}
	cleanups = append(cleanups, done)
	monitor, done, err := trunkline.NewMonitor(cfg, b, reg, log)
	if err != nil {
		return undo(err)
	}
	cleanups = append(cleanups, done)
	probes, _, err := trunkline.NewProbeServer(cfg, reg, log)
	if err != nil {
		return undo(err)
	}
	return &trunkline.App{Config: cfg, Bus: b, Client: client, Server: server, Monitor: monitor, Registry: reg, Probe: probes}, nil
}

// program is an App that runs.
type program struct {
	app  *trunkline.App
	stop context.CancelFunc
	done chan struct{}
	err  error // set before done is closed
}

// start runs the app. Its life is not the caller's: end stops it.
func start(ctx context.Context, app *trunkline.App, parts ...trunkline.Part) *program {
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	p := &program{app: app, stop: cancel, done: make(chan struct{})}
	go func() {
		defer close(p.done)
		p.err = app.Run(ctx, parts...)
	}()
	return p
}

// end stops the program and returns what it failed with. nil programs have ended.
func (p *program) end() error {
	if p == nil {
		return nil
	}
	p.stop()
	<-p.done // bounded by the app's shutdown time-out
	return p.err
}
