package demo

import (
	"context"

	"github.com/trunkline/trunkline"
)

// program is a running App.
type program struct {
	app  *trunkline.App
	stop context.CancelFunc
	done chan struct{}
	err  error // set before done is closed
}

// start runs the app until end stops it, also after ctx has ended.
func start(ctx context.Context, app *trunkline.App, parts ...trunkline.Part) *program {
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	p := &program{app: app, stop: cancel, done: make(chan struct{})}
	go func() {
		defer close(p.done)
		p.err = app.Run(ctx, parts...)
	}()
	return p
}

// end stops the program and returns the error of its Run. It has no effect if p is nil.
func (p *program) end() error {
	if p == nil {
		return nil
	}
	p.stop()
	<-p.done // the shutdown time-out of the app bounds it
	return p.err
}
