package demo

import (
	"context"

	"github.com/trunkline/trunkline"
)

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
