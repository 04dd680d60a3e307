package delivery

import (
	"context"
	"slices"
	"sync/atomic"

	"github.com/trunkline/trunkline/bus/driver"
	"github.com/trunkline/trunkline/bus/hook"
)

// Hooks holds hooks by the interfaces they implement. The zero value holds none. Add is not safe
// for concurrent use; the other methods are.
type Hooks struct {
	Publish         []hook.Publish
	Delivery        []hook.Delivery
	Session         []hook.Session
	Connection      []hook.Connection
	Commit          []hook.Commit
	DeadLetter      []hook.DeadLetter
	PublishTracers  []hook.PublishTracer
	DeliveryTracers []hook.DeliveryTracer
}

// Add adds h. It returns false if h implements no hook interface.
func (hs *Hooks) Add(h hook.Hook) bool {
	var known bool
	if x, ok := h.(hook.Publish); ok {
		hs.Publish, known = append(hs.Publish, x), true
	}
	if x, ok := h.(hook.Delivery); ok {
		hs.Delivery, known = append(hs.Delivery, x), true
	}
	if x, ok := h.(hook.Session); ok {
		hs.Session, known = append(hs.Session, x), true
	}
	if x, ok := h.(hook.Connection); ok {
		hs.Connection, known = append(hs.Connection, x), true
	}
	if x, ok := h.(hook.Commit); ok {
		hs.Commit, known = append(hs.Commit, x), true
	}
	if x, ok := h.(hook.DeadLetter); ok {
		hs.DeadLetter, known = append(hs.DeadLetter, x), true
	}
	if x, ok := h.(hook.PublishTracer); ok {
		hs.PublishTracers, known = append(hs.PublishTracers, x), true
	}
	if x, ok := h.(hook.DeliveryTracer); ok {
		hs.DeliveryTracers, known = append(hs.DeliveryTracers, x), true
	}
	return known
}

// Clone returns a copy. Adding to the copy does not change hs.
func (hs *Hooks) Clone() Hooks {
	return Hooks{
		Publish: slices.Clip(hs.Publish), Delivery: slices.Clip(hs.Delivery), Session: slices.Clip(hs.Session),
		Connection: slices.Clip(hs.Connection), Commit: slices.Clip(hs.Commit), DeadLetter: slices.Clip(hs.DeadLetter),
		PublishTracers: slices.Clip(hs.PublishTracers), DeliveryTracers: slices.Clip(hs.DeliveryTracers),
	}
}

// OnPublish calls the hooks for publishing.
func (hs *Hooks) OnPublish(e hook.PublishEvent) {
	for _, x := range hs.Publish {
		x.OnPublish(e)
	}
}

// OnConnection calls the hooks for the connection.
func (hs *Hooks) OnConnection(c driver.Connection) {
	for _, x := range hs.Connection {
		x.OnConnection(c)
	}
}

// Observers are the hooks of a subscription. Those of the bus are called first, then its own.
// Hooks can be added to the bus, and removed, while the subscription runs.
type Observers struct {
	Bus *atomic.Pointer[Hooks]
	Own *Hooks
}

// OnSession calls the hooks for sessions.
func (o Observers) OnSession(e hook.SessionEvent) {
	for _, hs := range []*Hooks{o.Bus.Load(), o.Own} {
		for _, x := range hs.Session {
			x.OnSession(e)
		}
	}
}

// observesDeliveries reports whether onDelivery calls a hook.
func (o Observers) observesDeliveries() bool {
	return len(o.Bus.Load().Delivery)+len(o.Own.Delivery) > 0
}

func (o Observers) onDelivery(e hook.DeliveryEvent) {
	for _, x := range o.Bus.Load().Delivery {
		x.OnDelivery(e)
	}
	for _, x := range o.Own.Delivery {
		x.OnDelivery(e)
	}
}

func (o Observers) onCommit(e hook.CommitEvent) {
	for _, x := range o.Bus.Load().Commit {
		x.OnCommit(e)
	}
	for _, x := range o.Own.Commit {
		x.OnCommit(e)
	}
}

func (o Observers) onDeadLetter(e hook.DeadLetterEvent) {
	for _, hs := range []*Hooks{o.Bus.Load(), o.Own} {
		for _, x := range hs.DeadLetter {
			x.OnDeadLetter(e)
		}
	}
}

// traceDelivery calls the tracers before a handler. It returns the handler's context, and
// the function that reports the handler's result to them.
func (o Observers) traceDelivery(ctx context.Context, d hook.DeliveryStart) (context.Context, func(error)) {
	bus := o.Bus.Load()
	if len(bus.DeliveryTracers)+len(o.Own.DeliveryTracers) == 0 {
		return ctx, func(error) {}
	}
	var ends []func(error)
	for _, tracers := range [][]hook.DeliveryTracer{bus.DeliveryTracers, o.Own.DeliveryTracers} {
		for _, t := range tracers {
			inner, end := t.StartDelivery(ctx, d)
			ctx = inner
			if end != nil {
				ends = append(ends, end)
			}
		}
	}
	return ctx, func(err error) {
		for i := len(ends) - 1; i >= 0; i-- {
			ends[i](err)
		}
	}
}
