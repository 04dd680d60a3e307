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

// Registry holds the status of every service of a process. Make one with [New]. All
// methods are safe for concurrent use. A registry has no goroutines and need not be
// closed.
type Registry struct {
	ready   Rule
	healthy Rule

	mu      sync.Mutex // held to replace current, not to read it
	current atomic.Pointer[state]
}

// state is immutable once it is stored; a change stores another one.
type state struct {
	Snapshot
	details map[string]DetailsFunc
	changed chan struct{} // closed when this is no longer the current state
}

// DetailsFunc returns details of a service for /detailz. The values must be encodable by
// encoding/json. It is called for each request with the request's context, and must return
// when that context ends. It must be safe for concurrent use. The caller may change the map.
type DetailsFunc func(ctx context.Context) map[string]any

// Option configures a [Registry].
type Option func(*Registry)

// WithReadyRule sets the rule that decides whether the registry is ready. The default is
// [DefaultReady], also if rule is nil.
func WithReadyRule(rule Rule) Option {
	return func(r *Registry) { r.ready = rule }
}

// WithHealthyRule sets the rule that decides whether the registry is healthy. The default is
// [DefaultHealthy], also if rule is nil.
func WithHealthyRule(rule Rule) Option {
	return func(r *Registry) { r.healthy = rule }
}

// New returns a registry without services. With the default rules it is healthy, and not
// ready until there is a service and every service is Running.
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

// WithDetails sets a function whose result /detailz shows with the service. The default is
// no details.
func WithDetails(details DetailsFunc) ServiceOption {
	return func(r *registration) { r.details = details }
}

// Register adds a service with status Unknown, so that the registry is not ready before the
// service is Running. A service that exists keeps its status, and the options replace the
// ones that it had.
//
// HTTP paths and gRPC health requests use the name as it is. An empty name is a mistake:
// the registry replaces it with "unnamed", so that the mistake is visible.
func (r *Registry) Register(name string, opts ...ServiceOption) {
	var reg registration
	for _, opt := range opts {
		opt(&reg)
	}
	name = nameOrUnnamed(name)
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

// Unregister removes a service, which then does not count for ready and healthy any more.
// It does nothing if there is no such service.
func (r *Registry) Unregister(name string) {
	name = nameOrUnnamed(name)
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

// Update sets the status of a service, and the cause, which may be nil. It registers the
// service if it does not exist. An update with the same status and a cause with the same
// text changes nothing and wakes no observer. Update never waits for an observer.
func (r *Registry) Update(name string, status Status, cause error) {
	name = nameOrUnnamed(name)
	if r.current.Load().has(name, status, cause) {
		return
	}
	r.change(func(next *state) bool {
		if next.has(name, status, cause) {
			return false // another goroutine was faster
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

// Ready reports whether the registry is ready. It neither locks nor allocates.
func (r *Registry) Ready() bool { return r.current.Load().Ready }

// Healthy reports whether the registry is healthy. It neither locks nor allocates.
func (r *Registry) Healthy() bool { return r.current.Load().Healthy }

// Snapshot returns the current state.
func (r *Registry) Snapshot() Snapshot { return r.current.Load().copy() }

// Wait returns the current state as soon as its version differs from since; with since 0
// it returns at once. Changes in between are not queued: the caller gets the latest state.
// Call it in a loop, and pass the version of each snapshot to the next call. Any number of
// observers may do so.
//
// When ctx ends, Wait returns the state at that moment, and an error that wraps ctx.Err
// and the context's cause.
func (r *Registry) Wait(ctx context.Context, since Version) (Snapshot, error) {
	for {
		// Check the context first. Otherwise an observer that handles changes more slowly
		// than they come would never get the error, and its loop would never end.
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

// Watch yields the current state, and then the latest state after each change, until ctx
// ends or the loop is left. Changes during the loop's body are not queued.
func (r *Registry) Watch(ctx context.Context) iter.Seq[Snapshot] {
	return func(yield func(Snapshot) bool) {
		snap, err := r.Wait(ctx, 0)
		for err == nil && yield(snap) {
			snap, err = r.Wait(ctx, snap.Version)
		}
	}
}

// WaitReady returns nil as soon as the registry is ready. If ctx ends first, it returns an
// error that wraps ctx.Err, the context's cause, and a [*NotReadyError] with the services
// that are not ready and their causes.
//
// A Failed service does not end the wait, because its owner may still replace it. To give
// up sooner, check Healthy with [Registry.Watch].
func (r *Registry) WaitReady(ctx context.Context) error {
	snap := r.Snapshot()
	for !snap.Ready {
		next, err := r.Wait(ctx, snap.Version)
		if err != nil && !next.Ready {
			return fmt.Errorf("probe: wait until ready: %w: %w", err, next.Err())
		}
		snap = next
	}
	return nil
}

// change applies edit to a copy of the current state, stores the copy, and wakes the
// observers of the old state. edit reports whether it changed anything.
func (r *Registry) change(edit func(next *state) bool) {
	if old := r.replace(edit); old != nil {
		close(old.changed)
	}
}

func (r *Registry) replace(edit func(next *state) bool) (old *state) {
	r.mu.Lock()
	defer r.mu.Unlock() // deferred, because a rule may panic
	old = r.current.Load()
	next := &state{Snapshot: old.copy(), details: old.details}
	if !edit(next) {
		return nil
	}
	r.current.Store(r.judge(next))
	return old
}

// judge completes a state before it is stored.
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

// has reports whether the service has this status and cause already.
func (s *state) has(name string, status Status, cause error) bool {
	service, found := s.Service(name)
	if !found || service.Status != status || (service.Cause == nil) != (cause == nil) {
		return false
	}
	// Compare the texts, because observers read the text, and comparing error values panics
	// for some types.
	return cause == nil || service.Cause.Error() == cause.Error()
}

func nameOrUnnamed(name string) string {
	if name == "" {
		return "unnamed"
	}
	return name
}

// contextError returns why ctx ended: its error, and the cause if that differs.
func contextError(ctx context.Context) error {
	err, cause := ctx.Err(), context.Cause(ctx)
	if cause == err { //nolint:errorlint // the same value, not one that wraps it
		return err
	}
	return fmt.Errorf("%w: %w", err, cause)
}
