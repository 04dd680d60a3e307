package demo

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/trunkline/trunkline/bus"
	"github.com/trunkline/trunkline/examples/devices"
)

// observe is called by the core after each call, before the next call for the same device.
// It cuts the transport after cutAt successful calls, so that further calls follow the cut.
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

// follow waits until every device is enabled and, if the transport is cut, until the
// transport is restored and the core is ready again.
func (r *run) follow(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	restored := make(chan struct{})
	var restoreErr error // set before restored is closed
	go func() {
		defer close(restored)
		restoreErr = r.restore(ctx)
	}()
	err := r.work(ctx, restored)
	cancel()
	<-restored // the transport is restored in any case
	return errors.Join(err, restoreErr)
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
			return fmt.Errorf("the run did not end: %s: %w", r.progress(), context.Cause(ctx))
		}
	}
	return nil
}

// restore waits for the cut, restores the transport after Config.Cut, and waits until HTTP
// and gRPC both report ready again. The transport is restored in any case.
func (r *run) restore(ctx context.Context) error {
	if r.cutAt == 0 {
		return nil
	}
	select {
	case <-r.wasCut:
	case <-ctx.Done():
		if r.cutOnce.Do(func() {}); r.cutTime.IsZero() { // the once prevents a later cut
			return nil
		}
	}
	t := time.NewTimer(r.cfg.Cut)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
	if r.cfg.untilObserved {
		_ = r.watch.await(ctx, bothNotReady) // it fails only if ctx has ended
	}
	r.out.Event("RESTORE the transport")
	r.restoreTime = time.Now()
	r.net.restore()
	if err := r.watch.await(ctx, bothReady); err != nil {
		return fmt.Errorf("the core did not become ready again: %w", err)
	}
	return nil
}

func (r *run) progress() string {
	p := r.core.Progress()
	return fmt.Sprintf("calls  %d of %d ok, %d failed, %d pending; %d of %d devices enabled",
		p.Adopted+p.Configured+p.Enabled, p.Wanted*devices.StepsPerDevice, p.Failed, p.Pending, p.Enabled, p.Wanted)
}

// end stops the programs, and then deletes their topics.
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
				errs = append(errs, about("a topic was not deleted", err))
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
