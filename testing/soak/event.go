package soak

import (
	"context"
	"fmt"
	"slices"
	"sync"
)

// event is a change of the members.
type event struct {
	name   string
	weight int
	do     func(r *run, ctx context.Context) error
}

const joining, leaving = "join", "leave"

// events are all events. The weights are percentages.
var events = []event{
	{"start", 15, func(r *run, _ context.Context) error { return r.pick().consumer.Start() }},
	{"stop", 15, func(r *run, _ context.Context) error { return r.pick().consumer.Stop() }},
	{"start and stop concurrently", 10, (*run).startAndStopConcurrently},
	{"stop and wait", 15, (*run).stopAndWait},
	{joining, 15, (*run).addMember},
	{leaving, 15, (*run).closeMember},
	{"kill", 15, (*run).killMember},
}

// nextEvent picks an event at random, by the seed of the plan. It keeps the number of members in its bounds.
func (r *run) nextEvent() event {
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

// startAndStopConcurrently starts and stops one member from several goroutines. Afterwards it starts the
// member.
func (r *run) startAndStopConcurrently(context.Context) error {
	m := r.pick()
	var all sync.WaitGroup
	for range 3 {
		all.Go(func() {
			for range 5 {
				_ = m.consumer.Stop() // fails only after Close
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
	m.checkIdle("a stop that waited")
	return m.consumer.Start()
}

func (r *run) addMember(context.Context) error {
	return r.join()
}

func (r *run) closeMember(ctx context.Context) error {
	m := r.pick()
	r.remove(m)
	return m.close(ctx)
}

func (r *run) killMember(context.Context) error {
	m := r.pick()
	r.remove(m)
	m.kill()
	r.killed = append(r.killed, m)
	return r.join()
}

func (r *run) remove(m *member) {
	r.members = slices.DeleteFunc(r.members, func(o *member) bool { return o == m })
}

// runEvent runs the next event.
func (r *run) runEvent(ctx context.Context) error {
	e := r.nextEvent()
	ctx, cancel := context.WithTimeout(ctx, r.plan.Timeout)
	defer cancel()
	r.eventCounts[e.name]++
	if err := e.do(r, ctx); err != nil {
		return fmt.Errorf("soak: %s: %w", e.name, err)
	}
	return nil
}
