package consumer

import (
	"context"
	"errors"

	"github.com/trunkline/trunkline/bus"
	"github.com/trunkline/trunkline/internal/delivery"
)

// Run starts the consumer, waits until ctx ends, and shuts the consumer down within the drain
// timeout. It returns nil if every handler returned in that time. It can be called once, and
// can be a part of a trunkline.App.
//
// If an error stops the consumer, Run returns that error before ctx ends; see [Consumer.Err].
// Run also returns when another goroutine calls Shutdown or Close. Stop does not end Run,
// because a Start can follow.
func (c *Consumer) Run(ctx context.Context) error {
	if err := c.Start(); err != nil {
		return err
	}
	var err error
	for range c.Watch(ctx) {
		if err = c.Err(); err != nil {
			break
		}
	}
	return errors.Join(err, c.Close())
}

// Start asks the consumer to consume. It returns at once; Wait and Watch report when the
// consumer is Consuming. A consumer that is Stopping stops first and then starts. Starting a
// started consumer has no effect. After Shutdown, Start returns an error with bus.CodeClosed.
func (c *Consumer) Start() error {
	c.mu.Lock()
	if c.target == targetClosed {
		c.mu.Unlock()
		return c.newError(bus.CodeClosed, "start", "the consumer is closed", nil)
	}
	if c.target != targetStarted {
		c.target, c.err = targetStarted, nil
		c.request++
		if c.cycle == nil {
			go c.runCycles(c.startCycle()) // StopAndWait and Shutdown wait for it
		}
	}
	c.mu.Unlock()
	c.updateProbe()
	return nil
}

// Stop asks the consumer to stop. It returns at once. The consumer takes no new messages,
// waits for running handlers within the drain timeout, commits, and leaves its group.
// Stopping a stopped consumer has no effect. After Shutdown, Stop returns an error with
// bus.CodeClosed.
func (c *Consumer) Stop() error {
	_, err := c.stop()
	return err
}

// stop returns the cycle to wait for, nil if there is none.
func (c *Consumer) stop() (*cycle, error) {
	c.mu.Lock()
	defer c.updateProbe()
	defer c.mu.Unlock()
	if c.target == targetClosed {
		return c.cycle, c.newError(bus.CodeClosed, "stop", "the consumer is closed", nil)
	}
	if c.target != targetStopped {
		c.target = targetStopped
		c.request++
		if c.cycle == nil {
			c.history.enter(Stopped, nil)
		} else {
			c.cycle.stop()
			c.history.enter(Stopping, nil)
		}
	}
	return c.cycle, nil
}

// StopAndWait stops the consumer as Stop does, and returns nil when no handler runs. If ctx
// ends first, it returns an error, and the consumer is still Stopping. After a Shutdown,
// StopAndWait waits for running handlers, too. A handler of the same consumer must not call
// it.
func (c *Consumer) StopAndWait(ctx context.Context) error {
	cy, _ := c.stop() // the error means that Shutdown has stopped the consumer: wait as well
	if cy == nil {
		return nil
	}
	select {
	case <-cy.done:
		return nil
	case <-ctx.Done():
		return c.contextError(ctx, "stop", "handlers are still running", nil)
	}
}

// Close is Shutdown with the drain timeout as its limit; see [WithDrainTimeout].
func (c *Consumer) Close() error {
	ctx, cancel := context.WithTimeout(context.Background(), c.cfg.drainTimeout)
	defer cancel()
	return c.Shutdown(ctx)
}

// Shutdown stops the consumer permanently, and returns when no handler runs. It returns nil if
// no handler was cut off.
//
// Shutdown cancels the contexts of running handlers shortly before ctx's deadline, or when ctx
// is canceled. Before a deadline they have a quarter of the time, but at most 1 s, to return. If
// they do not return before ctx ends, Shutdown returns an error, and the consumer is Closed when
// the last of them returns. Later calls wait for the first one and return its result, or an
// error when their own context ends. Shutdown does not close the bus. A handler of the same
// consumer must not call it.
func (c *Consumer) Shutdown(ctx context.Context) error {
	c.mu.Lock()
	first, cy := c.target != targetClosed, c.cycle
	if first {
		c.target = targetClosed
		c.request++
		if cy == nil {
			c.history.enter(Closed, nil)
			close(c.closed)
		} else {
			c.history.enter(Closing, nil)
			cy.stop()
		}
	}
	c.mu.Unlock()
	c.updateProbe()
	if first && cy != nil {
		graceful, cancel := delivery.Reserve(ctx)
		defer cancel()
		defer context.AfterFunc(graceful, cy.abort)()
	}
	select {
	case <-c.closed: // also if ctx has ended
		return c.result
	default:
	}
	select {
	case <-c.closed:
		return c.result
	case <-ctx.Done():
		if first && cy != nil {
			cy.abort()
		}
		return c.contextError(ctx, "shut down the consumer", "handlers are still running; their messages will be delivered again", nil)
	}
}

// startCycle makes the next cycle. It must be called with mu held, while there is no cycle.
func (c *Consumer) startCycle() *cycle {
	c.cycle = newCycle(c, c.request)
	c.history.enter(Starting, c.connectionError())
	return c.cycle
}

// runCycles runs cycles, one after the other, until the consumer is Stopped or Closed. It is
// the consumer's goroutine.
func (c *Consumer) runCycles(cy *cycle) {
	for cy != nil {
		err, cutOff := cy.run()
		next, closed := c.endCycle(cy, err, cutOff)
		c.updateProbe() // before the waiting callers continue
		close(cy.done)
		if closed {
			close(c.closed)
		}
		cy = next
	}
}

// endCycle decides what follows a cycle that has ended. err and cutOff are the results of
// cycle.run. endCycle returns the next cycle, if the consumer was started again, and whether
// the consumer is Closed.
func (c *Consumer) endCycle(cy *cycle, err, cutOff error) (next *cycle, closed bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.cycle = nil
	if cutOff != nil {
		c.cfg.logger.Warn("handlers cut off: their messages will be delivered again", "topic", c.topic, "group", c.group, "error", cutOff)
	}
	switch {
	case c.target == targetClosed:
		c.result = cutOff
		c.history.enter(Closed, cutOff)
		return nil, true
	case c.request == cy.request: // an error ended the cycle
		c.cfg.logger.Error("consumer stopped", "topic", c.topic, "group", c.group, "error", err)
		c.target, c.err = targetStopped, err
		c.request++
		c.history.enter(Stopped, err)
	default:
		cause := cutOff
		if c.target == targetStopped && err != nil && !temporary(err) { // the error alone would have stopped the consumer
			c.err, cause = err, err
		}
		c.history.enter(Stopped, cause)
		if c.target == targetStarted {
			return c.startCycle(), false
		}
	}
	return nil, false
}
