package soak

import (
	"context"
	"fmt"
	"slices"
	"sync"
)

// event is something that happens to the members.
type event struct {
	name   string
	weight int
	do     func(r *run, ctx context.Context) error
}

const joining, leaving = "join", "leave"

// events and how often each comes, of 100.
var events = []event{
	{"start", 15, func(r *run, _ context.Context) error { return r.pick().consumer.Start() }},
	{"stop", 15, func(r *run, _ context.Context) error { return r.pick().consumer.Stop() }},
	{"back to back", 10, (*run).backToBack},
	{"stop and wait", 15, (*run).stopAndWait},
	{joining, 15, (*run).enter},
	{leaving, 15, (*run).leave},
	{"kill", 15, (*run).kill},
}

// draw picks an event by the plan's seed: one that can happen.
func (r *run) draw() event {
	for {
		n := r.rand.IntN(100)
		i := slices.IndexFunc(events, func(e event) bool { n -= e.weight; return n < 0 })
		switch e := events[i]; {
		case e.name == joining && len(r.members) >= 2*r.plan.Members:
		case e.name == leaving && len(r.members) < 2:
		default:
			return e
		}
	}
}

func (r *run) pick() *member { return r.members[r.rand.IntN(len(r.members))] }

// backToBack starts and stops one member from several goroutines, and in the end starts it.
func (r *run) backToBack(context.Context) error {
	m := r.pick()
	var all sync.WaitGroup
	for range 3 {
		all.Go(func() {
			for range 5 {
				_ = m.consumer.Stop() // fails only when it is closed, which nobody does meanwhile
				_ = m.consumer.Start()
			}
		})
	}
	all.Wait()
	return m.consumer.Start()
}

func (r *run) stopAndWait(ctx context.Context) error {
	m := r.pick()
	if err := m.consumer.StopAndWait(ctx); err != nil {
		return err
	}
	m.idle("a stop that was waited for")
	return m.consumer.Start()
}

func (r *run) enter(context.Context) error {
	_, err := r.join()
	return err
}

func (r *run) leave(ctx context.Context) error {
	m := r.pick()
	r.remove(m)
	return m.close(ctx)
}

func (r *run) kill(context.Context) error {
	m := r.pick()
	r.remove(m)
	m.kill()
	r.abandoned = append(r.abandoned, m)
	_, err := r.join()
	return err
}

func (r *run) remove(m *member) {
	r.members = slices.DeleteFunc(r.members, func(o *member) bool { return o == m })
}

// happen draws one event and lets it happen.
func (r *run) happen(ctx context.Context) error {
	e := r.draw()
	ctx, cancel := context.WithTimeout(ctx, r.plan.Patience)
	defer cancel()
	r.happened[e.name]++
	if err := e.do(r, ctx); err != nil {
		return fmt.Errorf("soak: %s: %w", e.name, err)
	}
	return nil
}
