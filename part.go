package trunkline

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"time"

	"github.com/trunkline/trunkline/bus"
	"github.com/trunkline/trunkline/liveness/probe"
)

// Part is a function that runs with the App, for example the Run method of a managed
// consumer. A Part runs until its context ends, and then returns nil. If it returns earlier,
// with or without an error, the App shuts down.
type Part func(ctx context.Context) error

// Add adds a part that Run starts. It also adds a service with this name to the probe
// registry. The service is Running while the part runs, and Failed if the part ends too early:
//
//	app.Add("billing", billing.Run) // a managed consumer
//
// For a part that reports its own readiness, such as a consumer with consumer.WithProbe,
// choose a name that differs from the name of its service.
//
// Add returns an error if the name is empty or used, if the part is nil, or if Run was
// called. A later Run returns the same error, so a caller that then calls Run may ignore
// the error of Add.
func (a *App) Add(name string, part Part) error {
	a.life.lock()
	defer a.life.Unlock()
	err := a.life.add(name, part)
	if err != nil {
		err = fmt.Errorf("trunkline: add part %q: %w", name, err)
		a.life.invalid = errors.Join(a.life.invalid, err)
		return err
	}
	a.Registry.Update(name, probe.Preparing, nil)
	return nil
}

func (l *life) add(name string, part Part) error {
	switch {
	case name == "":
		return errors.New("the name must not be empty")
	case name == AppService || name == BusService || name == CheckService || name == ServerService:
		return errors.New("the App itself reports a service with this name: choose another")
	case part == nil:
		return errors.New("the part must not be nil")
	case l.begun:
		return errors.New("the App runs or is closed: add parts before Run")
	}
	for _, p := range l.parts {
		if p.name == name {
			return errors.New("another part already has this name: choose another")
		}
	}
	l.parts = append(l.parts, namedPart{name, part})
	return nil
}

// namedPart is a part with its service in the registry. The name is empty for a part that
// was passed to Run.
type namedPart struct {
	name string
	run  Part
}

// Serve returns a part that serves the topics with App.Server. It creates the topics that
// do not exist, and retries while no broker is available; then it serves until its context
// ends. Register the methods of the server before Run, and call Serve once:
//
//	app.Run(ctx, app.Serve(bus.TopicSpec{Name: "greeter"}))
//
// Serve adds the service ServerService to the probe registry, so the program is not ready
// before the server reads its topics.
func (a *App) Serve(topics ...bus.TopicSpec) Part {
	a.Registry.Update(ServerService, probe.Preparing, nil)
	return func(ctx context.Context) error {
		err := a.serve(ctx, topics)
		if err != nil {
			a.Registry.Update(ServerService, probe.Failed, err)
			return err
		}
		a.Registry.Update(ServerService, probe.Stopped, nil)
		return nil
	}
}

func (a *App) serve(ctx context.Context, topics []bus.TopicSpec) error {
	for _, topic := range topics {
		err := a.ensureTopic(ctx, topic)
		if ctx.Err() != nil {
			return nil
		}
		if err == nil {
			err = a.Server.Listen(topic.Name)
		}
		if err != nil {
			return fmt.Errorf("trunkline: serve %s: %w", topic.Name, err)
		}
	}
	ready, cancel := context.WithCancel(ctx)
	var waiting sync.WaitGroup
	waiting.Go(func() {
		if a.Server.Ready(ready) == nil {
			a.Registry.Update(ServerService, probe.Running, nil)
		}
	})
	err := a.Server.Run(ctx)
	cancel()
	waiting.Wait()
	return err
}

// ensureTopic creates the topic, and retries while no broker is available.
func (a *App) ensureTopic(ctx context.Context, topic bus.TopicSpec) error {
	for attempt := 1; ; attempt++ {
		once, cancel := context.WithTimeout(ctx, 10*time.Second)
		err := a.Bus.EnsureTopic(once, topic)
		cancel()
		switch bus.CodeOf(err) {
		case bus.CodeUnavailable, bus.CodeDeadlineExceeded, bus.CodeOutcomeUnknown:
		default:
			return err
		}
		if attempt == 1 && ctx.Err() == nil {
			a.logger().WarnContext(ctx, "cannot create the topic yet: retrying", "topic", topic.Name, "error", err)
		}
		select {
		case <-time.After(250 * time.Millisecond):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// ServerPart returns a part for a server in the style of net/http: serve blocks until the
// server ends, and shutdown ends the server gracefully before its context ends. In an App,
// that context is the one that limits the shutdown of the App. Outside an App it ends after
// ten seconds.
//
//	s := &http.Server{Handler: h}
//	app.Add("http", trunkline.ServerPart(func() error { return s.Serve(listener) }, s.Shutdown))
//
// A gRPC server needs a shutdown function that bounds GracefulStop:
//
//	app.Add("grpc", trunkline.ServerPart(func() error { return s.Serve(listener) }, func(ctx context.Context) error {
//		defer context.AfterFunc(ctx, s.Stop)()
//		s.GracefulStop()
//		return nil
//	}))
func ServerPart(serve func() error, shutdown func(ctx context.Context) error) Part {
	return func(ctx context.Context) error {
		served := make(chan error, 1)
		go func() { served <- serve() }()
		select {
		case err := <-served:
			return endedEarly(err)
		case <-ctx.Done():
		}
		bound, cancel := shutdownContext(ctx)
		defer cancel()
		err := shutdown(bound)
		select {
		case ended := <-served:
			if !errors.Is(ended, http.ErrServerClosed) {
				err = errors.Join(err, ended)
			}
		case <-bound.Done():
			err = errors.Join(err, fmt.Errorf("trunkline: a server did not end in time: %w", context.Cause(bound)))
		}
		return err
	}
}

// boundKey is the key of a value in the context of a part. The value is a function, of type
// func() context.Context, that returns the context that limits the shutdown of the App. A part
// calls the function after its own context has ended.
type boundKey struct{}

func shutdownContext(ctx context.Context) (context.Context, context.CancelFunc) {
	if bound, ok := ctx.Value(boundKey{}).(func() context.Context); ok {
		return context.WithCancel(bound())
	}
	return context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
}

// running holds the state of the parts during App.Run.
type running struct {
	app    *App
	cancel context.CancelFunc
	first  chan struct{} // closed when a part has ended too early
	all    chan struct{} // closed when every part has ended

	mu   sync.Mutex
	err  error // the errors of the parts that takeError has not returned yet
	once sync.Once
}

func startParts(ctx context.Context, app *App, parts []namedPart) *running {
	r := &running{app: app, first: make(chan struct{}), all: make(chan struct{})}
	ctx, r.cancel = context.WithCancel(context.WithValue(ctx, boundKey{}, r.shutdownBound))
	var wg sync.WaitGroup
	for _, p := range parts {
		wg.Go(func() { r.run(ctx, p) })
	}
	go func() {
		wg.Wait()
		close(r.all)
	}()
	return r
}

func (r *running) run(ctx context.Context, p namedPart) {
	update := func(status probe.Status, cause error) {
		if p.name != "" {
			r.app.Registry.Update(p.name, status, cause)
		}
	}
	update(probe.Running, nil)
	err := p.run(ctx)
	if ctx.Err() != nil && err == nil {
		update(probe.Stopped, nil)
		return
	}
	if ctx.Err() == nil {
		err = endedEarly(err)
	}
	if p.name != "" {
		err = fmt.Errorf("trunkline: part %q: %w", p.name, err)
	}
	update(probe.Failed, err)
	r.mu.Lock()
	r.err = errors.Join(r.err, err)
	r.mu.Unlock()
	r.once.Do(func() { close(r.first) })
}

// shutdownBound waits until the shutdown has begun, and returns its context.
func (r *running) shutdownBound() context.Context {
	<-r.app.life.closing // the context of a part may end a moment before the shutdown begins
	r.app.life.lock()
	defer r.app.life.Unlock()
	return r.app.life.bound
}

// takeError returns the errors of parts that were not returned yet.
func (r *running) takeError() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	err := r.err
	r.err = nil
	return err
}

// stop ends the parts, waits for them as long as ctx allows, and returns their errors.
func (r *running) stop(ctx context.Context) error {
	r.cancel()
	select {
	case <-r.all:
		return r.takeError()
	case <-ctx.Done():
		return errors.Join(r.takeError(), fmt.Errorf("trunkline: a part of the program did not end in time: %w", ctx.Err()))
	}
}

func endedEarly(err error) error {
	if err == nil {
		return errors.New("trunkline: a part of the program ended by itself")
	}
	return err
}
