package soak

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"strconv"
	"sync"
	"time"

	"github.com/ThreeDotsLabs/watermill"
	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/trunkline/trunkline/bus"
)

// run is a running plan. Only the goroutine of Run uses its fields.
type run struct {
	plan        Plan
	checker     *checker
	rand        *rand.Rand
	members     []*member
	killed      []*member // closed at the end
	joined      int       // the number of members so far, for their names
	eventCounts map[string]int

	publishing *bus.Bus
}

// Run runs the plan and returns a report, which lists the violations of the rules. It returns an error if the
// run itself failed: a bus could not be opened, or a wait reached its bound. The report then shows how far the
// run got. ctx bounds the whole run.
func Run(ctx context.Context, plan Plan) (*Report, error) {
	if err := plan.complete(); err != nil {
		return nil, err
	}
	begin := time.Now()
	r := &run{plan: plan, checker: newChecker(plan.Messages, plan.Keys), rand: rand.New(rand.NewPCG(plan.Seed, 0)), eventCounts: map[string]int{}}
	err := r.soak(ctx)
	var deadLetters map[int]int
	if err == nil {
		deadLetters, err = r.readDeadLetters(ctx)
	}
	err = errors.Join(err, r.close(ctx))
	report := r.report(deadLetters)
	report.Duration = time.Since(begin)
	return report, err
}

func (r *run) soak(ctx context.Context) error {
	for range r.plan.Members {
		if err := r.join(); err != nil {
			return err
		}
	}
	b, _, err := r.plan.Open("publisher")
	if err != nil {
		return fmt.Errorf("soak: open the bus of the publisher: %w", err)
	}
	r.publishing = b
	ctx, cancel := context.WithCancelCause(ctx)
	var publisher sync.WaitGroup
	defer publisher.Wait()
	defer cancel(nil) // runs before publisher.Wait
	publisher.Go(func() {
		if err := r.publish(ctx); err != nil {
			cancel(err)
		}
	})
	// messagesBefore returns how many messages should be done before the n-th event.
	messagesBefore := func(n int) int { return n * r.plan.Messages / (r.plan.Events + 1) }
	for n := range r.plan.Events {
		r.checker.allow(messagesBefore(n + 2))
		if err := r.waitForMessages(ctx, messagesBefore(n+1), r.plan.MaxInterval); err != nil {
			return err
		}
		r.checkRunning()
		if err := r.runEvent(ctx); err != nil {
			return err
		}
	}
	r.checkRunning()
	r.checker.allow(r.plan.Messages)
	for _, m := range r.members {
		if err := m.consumer.Start(); err != nil {
			return fmt.Errorf("soak: start %s: %w", m.name, err)
		}
	}
	err = r.finish(ctx)
	r.checkRunning()
	return err
}

// waitForMessages waits until this number of messages is done, but not longer than maxWait.
func (r *run) waitForMessages(ctx context.Context, messages int, maxWait time.Duration) error {
	t := time.NewTimer(maxWait)
	defer t.Stop()
	for {
		_, done, changed := r.checker.progress()
		if done >= messages {
			return nil
		}
		select {
		case <-changed:
		case <-t.C:
			return nil
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// finish waits until every message is done and committed. There are no more events, so the run fails if
// nothing changes for the plan's timeout.
func (r *run) finish(ctx context.Context) error {
	t := time.NewTimer(r.plan.Timeout)
	defer t.Stop()
	for {
		changes := r.checker.changeCount()
		published, done, changed := r.checker.progress()
		if r.checker.complete() {
			return nil
		}
		t.Reset(r.plan.Timeout)
		select {
		case <-changed:
		case <-t.C:
			if r.checker.changeCount() == changes {
				return fmt.Errorf("soak: no progress for %v: %d messages are published and %d done; %s",
					r.plan.Timeout, published, done, r.states())
			}
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// checkRunning reports members that have stopped by themselves. No event of a run is a reason for that.
func (r *run) checkRunning() {
	for _, m := range r.members {
		if err := m.consumer.Err(); err != nil {
			r.checker.report("stopped: %s stopped by itself: %v", m.name, err)
		}
	}
}

// states describes the states of the members.
func (r *run) states() string {
	text := "members:"
	for _, m := range r.members {
		text += fmt.Sprintf(" %s %v %v,", m.name, m.consumer.State(), m.consumer.Err())
	}
	return text[:len(text)-1]
}

// publish publishes every message. It does not get too far ahead of the handlers or of the events.
func (r *run) publish(ctx context.Context) error {
	const batch = 1000
	for next := 0; next < r.plan.Messages; {
		limit, changed := r.checker.publishLimit(r.plan.MaxUnhandled)
		n := min(batch, limit-next)
		if n <= 0 {
			select {
			case <-changed:
				continue
			case <-ctx.Done():
				return context.Cause(ctx)
			}
		}
		messages := make([]*message.Message, n)
		for i := range messages {
			m := message.NewMessage(watermill.NewUUID(), []byte(strconv.Itoa(next+i)))
			bus.SetKey(m, "key-"+strconv.Itoa(keyOf(next+i, r.plan.Keys)))
			m.SetContext(ctx)
			messages[i] = m
		}
		if err := r.publishing.Publish(r.plan.Topic, messages...); err != nil {
			return fmt.Errorf("soak: %w", err)
		}
		r.checker.publish(n)
		next += n
	}
	return nil
}

// readDeadLetters returns how often each message is in the dead-letter topic. It reads until it has found all
// messages that must be there, or until the plan's timeout.
func (r *run) readDeadLetters(ctx context.Context) (map[int]int, error) {
	r.checker.mu.Lock()
	missing := maps.Clone(r.checker.deadLettered)
	r.checker.mu.Unlock()
	found := map[int]int{}
	if len(missing) == 0 {
		return found, nil
	}
	var mu sync.Mutex
	complete := make(chan struct{})
	ctx, cancel := context.WithTimeout(ctx, r.plan.Timeout)
	defer cancel()
	sub, err := r.publishing.Consume(ctx, r.plan.DeadLetterTopic, func(_ context.Context, d *bus.Delivery) error {
		mu.Lock()
		defer mu.Unlock()
		if m, err := strconv.Atoi(string(d.Payload)); err == nil {
			found[m]++
			if delete(missing, m); len(missing) == 0 {
				select {
				case <-complete:
				default:
					close(complete)
				}
			}
		}
		return nil
	}, bus.FromOldest())
	if err != nil {
		return found, fmt.Errorf("soak: read the dead letters: %w", err)
	}
	select {
	case <-complete:
	case <-sub.Done():
		err = fmt.Errorf("soak: read the dead letters: %w", sub.Err())
	case <-ctx.Done(): // the report lists the missing ones as lost
	}
	return found, errors.Join(err, sub.Shutdown(context.WithoutCancel(ctx)))
}

// close closes every bus. It ignores the errors of killed members, which cannot leave the group.
func (r *run) close(ctx context.Context) error {
	bounded, cancel := context.WithTimeout(context.WithoutCancel(ctx), r.plan.Timeout)
	defer cancel()
	errs := make([]error, len(r.members)+1)
	var closing sync.WaitGroup
	for i, m := range r.members {
		closing.Go(func() { errs[i] = m.close(bounded) })
	}
	short, cancelShort := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Second)
	defer cancelShort()
	for _, m := range r.killed {
		closing.Go(func() { _ = m.close(short) })
	}
	closing.Wait()
	if r.publishing != nil {
		errs[len(r.members)] = r.publishing.Shutdown(bounded)
	}
	return errors.Join(errs...)
}
