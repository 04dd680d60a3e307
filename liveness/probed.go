package liveness

import (
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// Probe is one active probe that has ended.
type Probe struct {
	// Duration is from its beginning to its end.
	Duration time.Duration
	// Err is nil if and only if the broker gave a sign of life.
	Err error
}

// OnProbe has observe called after each active probe, until remove is called; removing
// twice does nothing. Calls come one at a time and after the monitor has the result, so
// they delay no verdict. An observer that is still at one when the next has ended misses
// that one, and one that never returns keeps Run from returning.
func (m *Monitor) OnProbe(observe func(Probe)) (remove func()) {
	return m.onProbe.add(observe)
}

type probeObservers struct {
	mu  sync.Mutex
	all []*probeObserver
}

type probeObserver struct {
	observe func(Probe)
	busy    atomic.Bool
}

func (o *probeObservers) add(observe func(Probe)) (remove func()) {
	one := &probeObserver{observe: observe}
	o.mu.Lock()
	defer o.mu.Unlock()
	o.all = append(slices.Clone(o.all), one)
	return func() {
		o.mu.Lock()
		defer o.mu.Unlock()
		o.all = slices.DeleteFunc(slices.Clone(o.all), func(x *probeObserver) bool { return x == one })
	}
}

func (o *probeObservers) tell(p Probe) {
	o.mu.Lock()
	all := o.all
	o.mu.Unlock()
	// Side by side: one that is stuck must not keep the others from hearing.
	var telling sync.WaitGroup
	for _, x := range all {
		if x.busy.CompareAndSwap(false, true) {
			telling.Go(func() {
				defer x.busy.Store(false)
				x.observe(p)
			})
		}
	}
	telling.Wait()
}
