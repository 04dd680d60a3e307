package chaos

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/trunkline/trunkline/bus"
)

// Run is a load at work. Its methods are for one goroutine at a time.
type Run struct {
	load    Load
	brokers Brokers
	history *History
	tally   *tally
	claims  claims

	// consuming is the members' context. It ends only when they have been closed.
	consuming context.Context
	letGo     context.CancelFunc

	publishing *bus.Bus
	hush       context.CancelFunc // ends the publishers' work
	publishers sync.WaitGroup

	groups    map[string][]*member
	abandoned []*member // killed, and never closed until Stop
	joined    int       // how many members there were, for their names
}

// Step is a part of a run: the time in which one thing was broken or mended.
type Step struct {
	Name     string
	From, To time.Duration // since the history began
	// Marks are the moments worth telling.
	Marks []Mark
}

// Mark is a moment in a step.
type Mark struct {
	Name string
	At   time.Duration // since the history began
}

// Start begins the load and returns when messages come through on every partition, to
// every group. ctx bounds the call, not the load: [Run.Stop] ends that, and must be
// called unless Start failed.
func Start(ctx context.Context, load Load) (*Run, error) {
	if err := load.complete(); err != nil {
		return nil, err
	}
	r := &Run{load: load, brokers: load.Addrs, history: &History{}, tally: newTally(load.Groups, load.Partitions), groups: make(map[string][]*member)}
	r.consuming, r.letGo = context.WithCancel(context.WithoutCancel(ctx))
	err := r.start(ctx)
	if err == nil {
		err = r.flow(ctx)
	}
	if err != nil {
		return nil, errors.Join(err, r.close(ctx))
	}
	return r, nil
}

func (r *Run) start(ctx context.Context) error {
	for _, group := range r.load.Groups {
		for range r.load.Members {
			m, err := r.join(r.consuming, group)
			if err != nil {
				return err
			}
			r.groups[group] = append(r.groups[group], m)
		}
	}
	b, _, err := r.load.Open("publishers", bus.WithHooks(outcomes{r}))
	if err != nil {
		return fmt.Errorf("chaos: open a bus to publish on: %w", err)
	}
	r.publishing = b
	working, hush := context.WithCancel(context.WithoutCancel(ctx))
	r.hush = hush
	for n := range r.load.Publishers {
		keys := r.load.keys(n)
		r.publishers.Go(func() { r.publish(working, b, keys) })
	}
	return nil
}

// flow waits until messages come through everywhere.
func (r *Run) flow(ctx context.Context) error {
	if err := r.tally.flow(ctx); err != nil {
		return fmt.Errorf("chaos: wait until messages flow on every partition: %w", err)
	}
	return nil
}

// settling is how long a step goes on when messages flow again, so that the next one does
// not begin in the middle of a backlog.
const settling = 2 * time.Second

// Step runs f, waits until messages come through on every partition and to every group
// again, and a little longer. It takes the time of all that, and f the moments that it
// gives to mark. When f fails, or messages don't flow before ctx ends, its error says so;
// the run can go on.
func (r *Run) Step(ctx context.Context, name string, f func(ctx context.Context, mark func(string)) error) error {
	s := Step{Name: name, From: r.history.now()}
	mark := func(name string) { s.Marks = append(s.Marks, Mark{name, r.history.now()}) }
	err := f(ctx, mark)
	if err == nil {
		err = r.flow(ctx)
	}
	mark("flowing")
	rest(ctx, settling)
	s.To = r.history.now()
	r.history.Steps = append(r.history.Steps, s)
	if err != nil {
		return fmt.Errorf("chaos: %s: %w", name, err)
	}
	return nil
}

// KillMember takes the network of the group's oldest member away for good, as its
// process's end would, and puts a new member in its place. The member is not closed,
// and does what a member does whose network is gone.
func (r *Run) KillMember(group string) error {
	members := r.groups[group]
	if len(members) == 0 {
		return fmt.Errorf("chaos: group %q has no members", group)
	}
	killed := members[0]
	if killed.cut == nil {
		return errors.New("chaos: a member can't be killed: Load.Open gives nothing to take its network away with")
	}
	killed.cut()
	r.abandoned = append(r.abandoned, killed)
	r.groups[group] = members[1:]
	m, err := r.join(r.consuming, group)
	if err != nil {
		return err
	}
	r.groups[group] = append(r.groups[group], m)
	return nil
}

// Stop ends publishing, waits until each group has handled all that is in the log, closes
// everything, killed members last, and returns the history. It comes with whatever went
// wrong: what closes with an error is none of the rules, but not right either. ctx bounds
// the wait for the groups; closing has times of its own.
func (r *Run) Stop(ctx context.Context) (*History, error) {
	r.hush()
	r.publishers.Wait() // each Publish is bounded by the delivery time-out
	var errs []error
	err := try(ctx, func() (err error) {
		r.history.Log, err = r.brokers.read(ctx, r.load.Topic, parse)
		return err
	})
	if err == nil {
		err = r.tally.drained(ctx, r.history.Log)
	}
	if err != nil {
		errs = append(errs, fmt.Errorf("chaos: wait until every group has handled the log: %w", err))
	}
	errs = append(errs, r.close(ctx))
	r.history.Positions = make(map[string]map[int32]int64)
	asking, cancel := context.WithTimeout(context.WithoutCancel(ctx), closeLimit)
	defer cancel()
	for _, group := range r.load.Groups {
		at, err := r.brokers.positions(asking, group, r.load.Topic, r.load.Partitions)
		errs = append(errs, err)
		r.history.Positions[group] = at
	}
	r.history.Reasons = r.tally.why()
	return r.history, errors.Join(errs...)
}

// closeLimit bounds the closing of one bus.
const closeLimit = 15 * time.Second

// close closes every bus. What killed members say to it is of no interest: they can't
// leave in order.
func (r *Run) close(ctx context.Context) error {
	var errs []error
	if r.hush != nil {
		r.hush()
	}
	r.publishers.Wait()
	bounded, cancel := context.WithTimeout(context.WithoutCancel(ctx), closeLimit)
	defer cancel()
	if r.publishing != nil {
		if err := r.publishing.Shutdown(bounded); err != nil {
			errs = append(errs, fmt.Errorf("chaos: close the publishers' bus: %w", err))
		}
	}
	for _, members := range r.groups {
		for _, m := range members {
			errs = append(errs, m.close(bounded))
		}
	}
	short, cancelShort := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
	defer cancelShort()
	var killed sync.WaitGroup
	for _, m := range r.abandoned {
		killed.Go(func() { _ = m.close(short) })
	}
	killed.Wait()
	r.letGo()
	return errors.Join(errs...)
}
