package chaos

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/trunkline/trunkline/bus"
)

// Run is a running load. Its methods are not safe for concurrent use.
type Run struct {
	load     Load
	brokers  Brokers
	history  *History
	progress *progress
	claims   claims

	// consuming is the context of all members. It ends after they have been closed.
	consuming     context.Context
	stopConsuming context.CancelFunc

	publishing     *bus.Bus
	stopPublishing context.CancelFunc
	publishers     sync.WaitGroup

	groups map[string][]*member
	killed []*member // Stop closes them
	joined int       // the number of members so far, for their names
}

// Step is a part of a run, in which one thing was broken or repaired.
type Step struct {
	Name     string
	From, To time.Duration // since the history began
	// Marks are the notable moments of the step.
	Marks []Mark
}

// Mark is a named moment of a step.
type Mark struct {
	Name string
	At   time.Duration // since the history began
}

// Start starts the load. It returns when messages flow: on every partition a message was acknowledged,
// and every group handled one. ctx bounds the call, not the load. Unless Start returns an error, the
// caller must call [Run.Stop].
func Start(ctx context.Context, load Load) (*Run, error) {
	if err := load.complete(); err != nil {
		return nil, err
	}
	r := &Run{load: load, brokers: load.Addrs, history: &History{}, progress: newProgress(load.Groups, load.Partitions), groups: make(map[string][]*member)}
	r.consuming, r.stopConsuming = context.WithCancel(context.WithoutCancel(ctx))
	err := r.start(ctx)
	if err == nil {
		err = r.waitForFlow(ctx)
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
	b, _, err := r.load.Open("publishers", bus.WithHooks(publishHook{r}))
	if err != nil {
		return fmt.Errorf("chaos: open the bus of the publishers: %w", err)
	}
	r.publishing = b
	publishing, stop := context.WithCancel(context.WithoutCancel(ctx))
	r.stopPublishing = stop
	for n := range r.load.Publishers {
		keys := r.load.keys(n)
		r.publishers.Go(func() { r.publish(publishing, b, keys) })
	}
	return nil
}

// waitForFlow waits until messages flow on every partition.
func (r *Run) waitForFlow(ctx context.Context) error {
	if err := r.progress.waitForAll(ctx); err != nil {
		return fmt.Errorf("chaos: wait until messages flow on every partition: %w", err)
	}
	return nil
}

// settleTime is how long a step continues after messages flow again, so that the next step does not
// begin with a backlog.
const settleTime = 2 * time.Second

// Step calls f, waits until messages flow on every partition again, and waits a little longer. It
// records the duration of all that, and the moments that f marks. Step returns an error if f does, or if
// messages do not flow before ctx ends; the run can continue after an error.
func (r *Run) Step(ctx context.Context, name string, f func(ctx context.Context, mark func(string)) error) error {
	s := Step{Name: name, From: r.history.now()}
	mark := func(name string) { s.Marks = append(s.Marks, Mark{name, r.history.now()}) }
	err := f(ctx, mark)
	if err == nil {
		err = r.waitForFlow(ctx)
	}
	mark("messages flow")
	sleep(ctx, settleTime)
	s.To = r.history.now()
	r.history.Steps = append(r.history.Steps, s)
	if err != nil {
		return fmt.Errorf("chaos: step %q: %w", name, err)
	}
	return nil
}

// KillMember permanently closes the connections of the group's oldest member, like the death of its
// process, and adds a new member. The killed member keeps running without a network until [Run.Stop].
func (r *Run) KillMember(group string) error {
	members := r.groups[group]
	if len(members) == 0 {
		return fmt.Errorf("chaos: kill a member: group %q has no members", group)
	}
	oldest := members[0]
	if oldest.disconnect == nil {
		return errors.New("chaos: kill a member: Load.Open returned no disconnect function")
	}
	oldest.disconnect()
	r.killed = append(r.killed, oldest)
	r.groups[group] = members[1:]
	m, err := r.join(r.consuming, group)
	if err != nil {
		return err
	}
	r.groups[group] = append(r.groups[group], m)
	return nil
}

// Stop stops publishing, waits until each group has handled the whole log, closes every bus, and returns
// the history. If something fails, for example closing a bus, Stop returns the history and an error. Such
// an error is a defect, although it violates no rule. ctx limits the wait for the groups. Closing has
// time-outs of its own.
func (r *Run) Stop(ctx context.Context) (*History, error) {
	r.stopPublishing()
	r.publishers.Wait() // the delivery time-out bounds each Publish
	var errs []error
	err := retry(ctx, func() (err error) {
		r.history.Log, err = r.brokers.read(ctx, r.load.Topic, parse)
		return err
	})
	if err == nil {
		err = r.progress.waitForLog(ctx, r.history.Log)
	}
	if err != nil {
		errs = append(errs, fmt.Errorf("chaos: wait until every group has handled the log: %w", err))
	}
	errs = append(errs, r.close(ctx))
	r.history.Committed = make(map[string]map[int32]int64)
	bounded, cancel := context.WithTimeout(context.WithoutCancel(ctx), closeTimeout)
	defer cancel()
	for _, group := range r.load.Groups {
		offsets, err := r.brokers.committed(bounded, group, r.load.Topic, r.load.Partitions)
		errs = append(errs, err)
		r.history.Committed[group] = offsets
	}
	r.history.Errors = r.progress.errorCounts()
	return r.history, errors.Join(errs...)
}

// closeTimeout bounds the closing of all buses.
const closeTimeout = 15 * time.Second

// close closes every bus. It ignores the errors of killed members, which cannot leave their group.
func (r *Run) close(ctx context.Context) error {
	var errs []error
	if r.stopPublishing != nil {
		r.stopPublishing()
	}
	r.publishers.Wait()
	bounded, cancel := context.WithTimeout(context.WithoutCancel(ctx), closeTimeout)
	defer cancel()
	if r.publishing != nil {
		if err := r.publishing.Shutdown(bounded); err != nil {
			errs = append(errs, fmt.Errorf("chaos: close the bus of the publishers: %w", err))
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
	for _, m := range r.killed {
		killed.Go(func() { _ = m.close(short) })
	}
	killed.Wait()
	r.stopConsuming()
	return errors.Join(errs...)
}
