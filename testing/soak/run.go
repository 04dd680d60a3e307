package soak

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strconv"
	"sync"
	"time"

	"github.com/ThreeDotsLabs/watermill"
	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/trunkline/trunkline/bus"
)

// run is a plan at work. Its goroutine is Run's.
type run struct {
	plan      Plan
	tally     *tally
	rand      *rand.Rand
	members   []*member
	abandoned []*member // killed, and never closed until the end
	joined    int
	happened  map[string]int

	publishing *bus.Bus
}

// Run runs the plan, and returns what came of it, its broken rules included. An error says
// that the run itself failed: a bus could not be made, or a wait reached its bound; the
// report then tells how far it got. ctx bounds all of it.
func Run(ctx context.Context, plan Plan) (*Report, error) {
	if err := plan.complete(); err != nil {
		return nil, err
	}
	begun := time.Now()
	r := &run{plan: plan, tally: newTally(plan.Messages, plan.Keys), rand: rand.New(rand.NewPCG(plan.Seed, 0)), happened: map[string]int{}}
	err := r.soak(ctx)
	var deadLetters map[int]int
	if err == nil {
		deadLetters, err = r.readDeadLetters(ctx)
	}
	err = errors.Join(err, r.close(ctx))
	report := r.report(deadLetters)
	report.Duration = time.Since(begun)
	return report, err
}

func (r *run) soak(ctx context.Context) error {
	for range r.plan.Members {
		if _, err := r.join(); err != nil {
			return err
		}
	}
	b, _, err := r.plan.Open("publisher")
	if err != nil {
		return fmt.Errorf("soak: open a bus to publish on: %w", err)
	}
	r.publishing = b
	ctx, cancel := context.WithCancelCause(ctx)
	var publisher sync.WaitGroup
	defer publisher.Wait()
	defer cancel(nil) // before the publisher is waited for
	publisher.Go(func() {
		if err := r.publish(ctx); err != nil {
			cancel(err)
		}
	})
	share := func(events int) int { return events * r.plan.Messages / (r.plan.Events + 1) }
	for n := range r.plan.Events {
		r.tally.allow(share(n + 2))
		if err := r.reach(ctx, share(n+1), r.plan.Pace); err != nil {
			return err
		}
		r.inspect()
		if err := r.happen(ctx); err != nil {
			return err
		}
	}
	r.inspect()
	r.tally.allow(r.plan.Messages)
	for _, m := range r.members {
		if err := m.consumer.Start(); err != nil {
			return fmt.Errorf("soak: start %s: %w", m.name, err)
		}
	}
	err = r.finish(ctx)
	r.inspect()
	return err
}

// reach waits until so many messages are done, or the time has passed.
func (r *run) reach(ctx context.Context, messages int, atMost time.Duration) error {
	t := time.NewTimer(atMost)
	defer t.Stop()
	for {
		_, done, changed := r.tally.progress()
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

// finish waits until every message is done, and committed. Nothing happens to the members
// any more, so when nothing moves for the plan's patience nothing ever will.
func (r *run) finish(ctx context.Context) error {
	t := time.NewTimer(r.plan.Patience)
	defer t.Stop()
	for {
		moves := r.tally.moved()
		published, done, changed := r.tally.progress()
		if r.tally.complete() {
			return nil
		}
		t.Reset(r.plan.Patience)
		select {
		case <-changed:
		case <-t.C:
			if r.tally.moved() == moves {
				return fmt.Errorf("soak: stuck: %d messages are published and %d done, and nothing moved for %v; %s",
					published, done, r.plan.Patience, r.states())
			}
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// inspect reports members that have stopped by themselves: nothing that happens here is a
// reason to.
func (r *run) inspect() {
	for _, m := range r.members {
		if err := m.consumer.Err(); err != nil {
			r.tally.report("stopped: %s stopped by itself: %v", m.name, err)
		}
	}
}

// states tells how the members are.
func (r *run) states() string {
	text := "members:"
	for _, m := range r.members {
		text += fmt.Sprintf(" %s %v %v,", m.name, m.consumer.State(), m.consumer.Err())
	}
	return text[:len(text)-1]
}

// publish sends every message, never too far ahead of the handlers, nor of what is to
// happen to them.
func (r *run) publish(ctx context.Context) error {
	const batch = 1000
	for next := 0; next < r.plan.Messages; {
		upTo, changed := r.tally.room(r.plan.Ahead)
		n := min(batch, upTo-next)
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
		r.tally.publish(n)
		next += n
	}
	return nil
}

// readDeadLetters returns how often each message is in the dead-letter topic. It reads on
// until all are there that have to be.
func (r *run) readDeadLetters(ctx context.Context) (map[int]int, error) {
	r.tally.mu.Lock()
	missing := make(map[int]bool, len(r.tally.dead))
	for message := range r.tally.dead {
		missing[message] = true
	}
	r.tally.mu.Unlock()
	found := map[int]int{}
	if len(missing) == 0 {
		return found, nil
	}
	var mu sync.Mutex
	complete := make(chan struct{})
	ctx, cancel := context.WithTimeout(ctx, r.plan.Patience)
	defer cancel()
	sub, err := r.publishing.Consume(ctx, r.plan.DeadLetters, func(_ context.Context, d *bus.Delivery) error {
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
	case <-ctx.Done(): // the report says which are lost
	}
	return found, errors.Join(err, sub.Shutdown(context.WithoutCancel(ctx)))
}

// close closes every bus. What killed members say to it is of no interest: they can't leave
// in order.
func (r *run) close(ctx context.Context) error {
	bounded, cancel := context.WithTimeout(context.WithoutCancel(ctx), r.plan.Patience)
	defer cancel()
	errs := make([]error, len(r.members)+1)
	var closing sync.WaitGroup
	for i, m := range r.members {
		closing.Go(func() { errs[i] = m.close(bounded) })
	}
	short, cancelShort := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Second)
	defer cancelShort()
	for _, m := range r.abandoned {
		closing.Go(func() { _ = m.close(short) })
	}
	closing.Wait()
	if r.publishing != nil {
		errs[len(r.members)] = r.publishing.Shutdown(bounded)
	}
	return errors.Join(errs...)
}
