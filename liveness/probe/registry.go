package probe

import (
	"context"
	"fmt"
	"iter"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// Registry holds the status of every service of a process. Make one with [New].
// All methods may be called concurrently. It has no goroutines and needs no
// closing.
type Registry struct {
	ready   Rule
	healthy Rule

	mu      sync.Mutex // held to replace current, never to read it
	current atomic.Pointer[state]
}

// state is immutable once stored; a change stores another one.
type state struct {
	Snapshot
	details map[string]DetailsFunc
	changed chan struct{} // closed when this is no longer the current state
}

// DetailsFunc returns more about a service, to be shown by /detailz: anything
// that encoding/json encodes. It is called for each request, concurrently, with
// the request's context, which it must honour. The map is the caller's.
type DetailsFunc func(ctx context.Context) map[string]any

// Option configures a [Registry].
type Option func(*Registry)

// WithReadyRule replaces [DefaultReady]. A nil rule stands for the default.
func WithReadyRule(rule Rule) Option {
	return func(r *Registry) { r.ready = rule }
}

// WithHealthyRule replaces [DefaultHealthy]. A nil rule stands for the default.
func WithHealthyRule(rule Rule) Option {
	return func(r *Registry) { r.healthy = rule }
}

// New makes a registry without services. With the default rules it is healthy,
// and not ready until a service is registered and every one is Running.
func New(opts ...Option) *Registry {
	r := &Registry{}
	for _, opt := range opts {
		opt(r)
	}
	if r.ready == nil {
		r.ready = DefaultReady
	}
	if r.healthy == nil {
		r.healthy = DefaultHealthy
	}
	r.current.Store(r.judge(&state{}))
	return r
}

// ServiceOption configures a service; see [Registry.Register].
type ServiceOption func(*registration)

type registration struct{ details DetailsFunc }

// WithDetails has /detailz show what details returns with the service.
func WithDetails(details DetailsFunc) ServiceOption {
	return func(r *registration) { r.details = details }
}

// Register adds a service with status Unknown, so that the whole is not ready
// before it is Running. If the service is there already it keeps its status, and
// the options given replace those it had.
//
// In HTTP paths and in gRPC health requests the name is given as it is here.
// An empty name is always a mistake: it is recorded as "unnamed", so that the
// mistake is seen.
func (r *Registry) Register(name string, opts ...ServiceOption) {
	var reg registration
	for _, opt := range opts {
		opt(&reg)
	}
	name = named(name)
	r.change(func(next *state) bool {
		i, found := find(next.Services, name)
		if !found {
			next.Services = slices.Insert(next.Services, i, Service{Name: name, Since: time.Now()})
		}
		if reg.details != nil {
			next.details = maps.Clone(next.details)
			if next.details == nil {
				next.details = make(map[string]DetailsFunc)
			}
			next.details[name] = reg.details
		}
		return !found || reg.details != nil
	})
}

// Unregister takes a service out: it no longer counts for ready and healthy.
// Taking out one that isn't there does nothing.
func (r *Registry) Unregister(name string) {
	name = named(name)
	r.change(func(next *state) bool {
		i, found := find(next.Services, name)
		if !found {
			return false
		}
		next.Services = slices.Delete(next.Services, i, i+1)
		next.details = maps.Clone(next.details)
		delete(next.details, name)
		return true
	})
}

// Update says that a service has this status, and why; cause may be nil. A
// service that isn't registered is registered by it. An update that says again
// what is known, the same status and a cause with the same text, changes nothing
// and wakes nobody. Update never waits for an observer.
func (r *Registry) Update(name string, status Status, cause error) {
	name = named(name)
	if r.current.Load().says(name, status, cause) {
		return
	}
	r.change(func(next *state) bool {
		if next.says(name, status, cause) {
			return false // another goroutine was quicker
		}
		i, found := find(next.Services, name)
		if !found {
			next.Services = slices.Insert(next.Services, i, Service{Name: name})
		}
		service := &next.Services[i]
		if !found || service.Status != status {
			service.Since = time.Now()
		}
		service.Status, service.Cause = status, cause
		return true
	})
}

// Ready reports whether the whole is ready. It neither locks nor allocates.
func (r *Registry) Ready() bool { return r.current.Load().Ready }

// Healthy reports whether the whole is healthy. It neither locks nor allocates.
func (r *Registry) Healthy() bool { return r.current.Load().Healthy }

// Snapshot returns the current state.
func (r *Registry) Snapshot() Snapshot { return r.current.Load().copy() }

// Wait returns the current state as soon as its version is not since; with since
// 0 that is at once. What changed in between is not queued: the caller gets the
// latest. Use it in a loop, handing each snapshot's version to the next call; any
// number of observers may.
//
// Once ctx has ended the error says so (it wraps ctx.Err and the context's
// cause), and the snapshot is the state at that moment.
func (r *Registry) Wait(ctx context.Context, since Version) (Snapshot, error) {
	for {
		// First the context: with changes coming faster than they are handled the
		// loop of an observer would otherwise never end.
		if ctx.Err() != nil {
			return r.Snapshot(), contextError(ctx)
		}
		current := r.current.Load()
		if current.Version != since {
			return current.copy(), nil
		}
		select {
		case <-current.changed:
		case <-ctx.Done():
		}
	}
}

// Watch yields the current state, then the latest after each change, until ctx
// ends or the loop is left. While the loop's body runs changes are not queued.
func (r *Registry) Watch(ctx context.Context) iter.Seq[Snapshot] {
	return func(yield func(Snapshot) bool) {
		snap, err := r.Wait(ctx, 0)
		for err == nil && yield(snap) {
			snap, err = r.Wait(ctx, snap.Version)
		}
	}
}

// WaitReady returns nil as soon as the whole is ready. If ctx ends first the
// error wraps ctx.Err, the context's cause, and a [*NotReadyError] that names the
// services that were not ready and why.
//
// A Failed service does not end the wait, since something may yet replace it;
// to give up sooner, look at Healthy with [Registry.Watch].
func (r *Registry) WaitReady(ctx context.Context) error {
	snap := r.Snapshot()
	for !snap.Ready {
		next, err := r.Wait(ctx, snap.Version)
		if err != nil && !next.Ready {
			return fmt.Errorf("probe: gave up waiting (%w): %w", err, next.Err())
		}
		snap = next
	}
	return nil
}

// change stores what edit makes of a copy of the current state, and wakes the
// observers of the old one; edit reports whether there is anything to store.
func (r *Registry) change(edit func(next *state) bool) {
	if old := r.replace(edit); old != nil {
		close(old.changed)
	}
}

func (r *Registry) replace(edit func(next *state) bool) (old *state) {
	r.mu.Lock()
	defer r.mu.Unlock() // deferred: a rule is not ours and may panic
	old = r.current.Load()
	next := &state{Snapshot: old.copy(), details: old.details}
	if !edit(next) {
		return nil
	}
	r.current.Store(r.judge(next))
	return old
}

// judge completes a state that is about to be stored.
func (r *Registry) judge(next *state) *state {
	next.Version++
	next.Ready = r.ready(slices.Clone(next.Services))
	next.Healthy = r.healthy(slices.Clone(next.Services))
	next.changed = make(chan struct{})
	return next
}

func (s *state) copy() Snapshot {
	snap := s.Snapshot
	snap.Services = slices.Clone(snap.Services)
	return snap
}

// says reports whether the state already holds this status and cause.
func (s *state) says(name string, status Status, cause error) bool {
	service, found := s.Service(name)
	if !found || service.Status != status || (service.Cause == nil) != (cause == nil) {
		return false
	}
	// By text, since that is all an observer sees, and since comparing error
	// values panics for some types.
	return cause == nil || service.Cause.Error() == cause.Error()
}

func named(name string) string {
	if name == "" {
		return "unnamed"
	}
	return name
}

// contextError is why ctx ended: its error, and the cause if that says more.
func contextError(ctx context.Context) error {
	err, cause := ctx.Err(), context.Cause(ctx)
	if cause == err {
		return err
	}
	return fmt.Errorf("%w: %w", err, cause)
}
