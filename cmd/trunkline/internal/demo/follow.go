package demo

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/trunkline/trunkline/bus"
	"github.com/trunkline/trunkline/examples/devices"
)

// observe is called by the core after each call, before the device's next one. The
// call that makes the number full makes the cut, so that calls are sure to follow it.
func (r *run) observe(c devices.Call) {
	if n := r.calls.add(c); r.cutAt > 0 && n >= r.cutAt {
		r.cutOnce.Do(func() {
			r.out.Event("CUT    the transport, after %d calls, for %v", n, r.cfg.Cut)
			r.watch.mark()
			r.cutTime = time.Now()
			r.net.cut()
			close(r.wasCut)
		})
	}
}

// follow waits until every device is enabled and, when the transport is cut, until it
// was given back and readiness has returned.
func (r *run) follow(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	restored := make(chan struct{})
	var lasting error // set before restored is closed
	go func() {
		defer close(restored)
		lasting = r.restore(ctx)
	}()
	err := r.work(ctx, restored)
	cancel()
	<-restored // the transport is back, whatever happened
	return errors.Join(err, lasting)
}

func (r *run) work(ctx context.Context, restored <-chan struct{}) error {
	progress := time.NewTicker(100 * time.Millisecond)
	defer progress.Stop()
	enabled := r.core.Enabled()
	for enabled != nil || restored != nil {
		select {
		case <-progress.C:
			r.out.Progress(r.progress())
		case <-restored:
			restored = nil
		case <-enabled:
			enabled = nil
			r.out.EndProgress(r.progress())
			r.out.Event("core   every device is enabled")
		case <-r.coreProgram.done:
			return fmt.Errorf("the core ended: %w", r.coreProgram.err)
		case <-r.adapterProgram.done:
			return fmt.Errorf("the adapter ended: %w", r.adapterProgram.err)
		case <-ctx.Done():
			return fmt.Errorf("it did not end: %s: %w", r.progress(), context.Cause(ctx))
		}
	}
	return nil
}

// restore waits for the cut, gives the transport back in time, and waits until both
// ways of looking say ready again. Whatever ends it, the transport is back.
func (r *run) restore(ctx context.Context) error {
	if r.cutAt == 0 {
		return nil
	}
	select {
	case <-r.wasCut:
	case <-ctx.Done():
		if r.cutOnce.Do(func() {}); r.cutTime.IsZero() { // no cut from now on
			return nil
		}
	}
	t := time.NewTimer(r.cfg.Cut)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
	if r.cfg.untilSeen {
		_ = r.watch.await(ctx, bothAway) // fails with ctx only, which is the end
	}
	r.out.Event("BACK   the transport")
	r.backTime = time.Now()
	r.net.restore()
	if err := r.watch.await(ctx, bothReady); err != nil {
		return fmt.Errorf("readiness did not return: %w", err)
	}
	return nil
}

func (r *run) progress() string {
	p := r.core.Progress()
	return fmt.Sprintf("calls  %d of %d ok, %d failed, %d pending; %d of %d devices enabled",
		p.Adopted+p.Configured+p.Enabled, p.Wanted*devices.StepsPerDevice, p.Failed, p.Pending, p.Enabled, p.Wanted)
}

// end stops the programs, then removes their topics.
func (r *run) end(ctx context.Context) error {
	errs := []error{
		about("the adapter did not end cleanly", r.adapterProgram.end()),
		about("the core did not end cleanly", r.coreProgram.end()),
	}
	if r.north != nil {
		r.north.Close()
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 15*time.Second)
	defer cancel()
	if r.admin.Capabilities().Topics {
		for _, name := range []string{r.topic("core"), r.topic("adapter")} {
			if err := r.admin.DeleteTopic(ctx, name); err != nil && bus.CodeOf(err) != bus.CodeNotFound {
				errs = append(errs, about("a topic is left behind", err))
			}
		}
	}
	errs = append(errs, r.admin.Shutdown(ctx))
	return errors.Join(errs...)
}

func about(what string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s: %w", what, err)
}
