package liveness

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ThreeDotsLabs/watermill"
	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/trunkline/trunkline/bus"
)

// PingResult is the result of one ping.
type PingResult struct {
	// Duration is how long the ping took.
	Duration time.Duration
	// Err is nil if and only if the broker answered.
	Err error
}

// OnPing calls observe after each ping, until remove is called. Calling remove again does
// nothing.
//
// The monitor calls observe on a separate goroutine, after it has used the result, so
// observe cannot delay the monitor. Calls to one observer do not overlap: an observer that
// still runs when the next ping ends misses that ping. An observer that never returns
// prevents Run from returning.
func (m *Monitor) OnPing(observe func(PingResult)) (remove func()) {
	return m.pingObservers.add(observe)
}

// ping pings the broker once. The watcher records a success as a sign of life, and
// rejected credentials. The machine counts the other failures.
func (m *Monitor) ping(ctx context.Context, began int64) (err error) {
	ctx, cancel := withPingTimeout(ctx, m.cfg.times.ping)
	defer cancel()
	defer func() {
		if p := recover(); p != nil {
			err = &bus.Error{Code: bus.CodeInternal, Op: opPing, Reason: fmt.Sprintf("the ping function panicked: %v", p)}
		}
		switch {
		case err == nil:
			m.watcher.alive(m.watcher.now(), began)
		case meaningOf(err) == refusal:
			m.watcher.failed(err)
		case bus.CodeOf(err) == bus.CodeCanceled && errors.Is(context.Cause(ctx), context.DeadlineExceeded):
			err = &bus.Error{Code: bus.CodeDeadlineExceeded, Op: opPing, Reason: fmt.Sprintf("no answer within %v", m.cfg.times.ping)}
		}
	}()
	return m.cfg.ping(ctx)
}

// pingBus is the default PingFunc.
func (m *Monitor) pingBus(ctx context.Context) error {
	err := m.bus.Ping(ctx)
	if err == nil || m.cfg.pingTopic == "" || bus.CodeOf(err) != bus.CodeUnsupported {
		return err
	}
	msg := message.NewMessage(watermill.NewUUID(), []byte("liveness ping"))
	msg.SetContext(ctx)
	return m.bus.Publish(m.cfg.pingTopic, msg)
}

// pingObservers are the functions that were passed to OnPing.
type pingObservers struct {
	mu  sync.Mutex
	all []*pingObserver // copied on write, so notify reads it without the lock
}

type pingObserver struct {
	observe func(PingResult)
	busy    atomic.Bool
}

func (o *pingObservers) add(observe func(PingResult)) (remove func()) {
	one := &pingObserver{observe: observe}
	o.mu.Lock()
	defer o.mu.Unlock()
	o.all = append(slices.Clone(o.all), one)
	return func() {
		o.mu.Lock()
		defer o.mu.Unlock()
		o.all = slices.DeleteFunc(slices.Clone(o.all), func(x *pingObserver) bool { return x == one })
	}
}

// notify calls the observers that are not busy, concurrently, so that one that is stuck
// does not delay the others. It returns when they have returned.
func (o *pingObservers) notify(r PingResult) {
	o.mu.Lock()
	all := o.all
	o.mu.Unlock()
	var running sync.WaitGroup
	for _, x := range all {
		if x.busy.CompareAndSwap(false, true) {
			running.Go(func() {
				defer x.busy.Store(false)
				x.observe(r)
			})
		}
	}
	running.Wait()
}
