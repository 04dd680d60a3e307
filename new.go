package trunkline

import (
	"context"
	"slices"
)

// New validates the Config and returns an App that is assembled from it. It listens on
// Config.ProbeAddr, and does not wait for a broker. The code that google/wire generates from
// the provider sets assembles the same App. Run the App with [App.Run], or close it with
// [App.Close].
//
// ctx is only used while New runs.
func New(ctx context.Context, c Config, opts ...Option) (*App, error) {
	o, err := newOptions(opts)
	if err != nil {
		return nil, err
	}
	valid := c
	if o.transport != nil && valid.BusURL == "" {
		valid.BusURL = "transport://" // WithTransport replaces it
	}
	app := &App{Config: c}
	if err = valid.Validate(); err == nil {
		if app.Logger = o.logger; app.Logger == nil {
			app.Logger = NewLogger(c)
		}
		err = app.assemble(ctx, opts)
	}
	if err != nil {
		if o.transport != nil && app.Bus == nil {
			closeTransport(o.transport)
		}
		return nil, err
	}
	return app, nil
}

func (a *App) assemble(ctx context.Context, opts []Option) (err error) {
	var cleanups []func()
	defer func() {
		if err != nil {
			for _, cleanup := range slices.Backward(cleanups) {
				cleanup()
			}
		}
	}()
	c, l := a.Config, a.Logger
	var done func()
	if a.Registry, err = NewRegistry(opts...); err != nil {
		return err
	}
	if a.Bus, done, err = NewBus(ctx, c, l, opts...); err != nil {
		return err
	}
	cleanups = append(cleanups, done)
	if a.Client, done, err = NewClient(c, a.Bus, l, opts...); err != nil {
		return err
	}
	cleanups = append(cleanups, done)
	if a.Server, done, err = NewServer(c, a.Bus, l, opts...); err != nil {
		return err
	}
	cleanups = append(cleanups, done)
	if a.Monitor, done, err = NewMonitor(c, a.Bus, a.Registry, l, opts...); err != nil {
		return err
	}
	cleanups = append(cleanups, done)
	if a.Checker, done, err = NewChecker(c, a.Bus, a.Registry, l, opts...); err != nil {
		return err
	}
	cleanups = append(cleanups, done)
	a.Probe, _, err = NewProbeServer(c, a.Registry, l, opts...)
	return err
}
