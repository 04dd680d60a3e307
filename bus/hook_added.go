package bus

import (
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/trunkline/trunkline/internal/busseam"
)

func init() {
	busseam.AddHook = func(b, hook any) (remove func()) { return b.(*Bus).addHook(hook) }
	busseam.Logger = func(b any) *slog.Logger { return b.(*Bus).cfg.logger }
}

// addedHooks holds the hooks that were added to a bus after New. The hooks of New are
// called first. Reading them takes no lock.
type addedHooks struct {
	mu      sync.Mutex // held to replace current
	all     []*Hook
	current atomic.Pointer[hooks] // nil for none
}

// load returns the added hooks, nil for none.
func (a *addedHooks) load() *hooks {
	if a == nil {
		return nil
	}
	return a.current.Load()
}

func (a *addedHooks) add(h Hook) (remove func()) {
	a.mu.Lock()
	defer a.mu.Unlock()
	one := &h
	a.all = append(a.all, one)
	a.store()
	return func() {
		a.mu.Lock()
		defer a.mu.Unlock()
		a.all = slices.DeleteFunc(a.all, func(x *Hook) bool { return x == one })
		a.store()
	}
}

// store is called with mu held.
func (a *addedHooks) store() {
	if len(a.all) == 0 {
		a.current.Store(nil)
		return
	}
	next := &hooks{}
	for _, h := range a.all {
		next.add(*h)
	}
	a.current.Store(next)
}

// addHook adds a hook to the bus until remove is called. It reports the present state of
// the connection and of the subscriptions to the hook first; the events that follow come
// after. Operations that began earlier may go unobserved. Tracers cannot be added.
func (b *Bus) addHook(h Hook) (remove func()) {
	b.observing.Lock() // no change of the connection is reported meanwhile
	defer b.observing.Unlock()
	remove = b.added.add(h)
	if x, ok := h.(ConnectionHook); ok {
		x.OnConnection(b.Connection())
	}
	if x, ok := h.(SessionHook); ok {
		// A subscription leaves subs before it reports its end, so mu keeps that report
		// behind this one.
		b.mu.Lock()
		defer b.mu.Unlock()
		for s := range b.subs {
			if assigned, cause := s.Assigned(); assigned || cause != nil {
				x.OnSession(SessionEvent{Transport: b.caps.Name, Subscription: s, Assigned: assigned, Cause: cause})
			}
		}
	}
	return remove
}
