package kafka

import (
	"context"
	"errors"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/IBM/sarama"

	"github.com/trunkline/trunkline/bus/driver"
)

// groupSession is one membership in a consumer group, across rebalances and outages.
type groupSession struct {
	*events
	t        *Transport
	client   lazyClient
	instance string // "" for a member that is not static
	number   int    // among the static members of this transport with this topic and group

	// used by run alone
	group      sarama.ConsumerGroup
	drained    chan struct{} // closed when the group's errors were read to their end
	configured []sarama.BalanceStrategy
	mixed      bool // the group has members that don't allow cooperative-sticky

	agreed  atomic.Bool                  // the last rebalance chose what can be cooperative
	handler atomic.Pointer[groupHandler] // of the present session of sarama's
	known   atomic.Int32                 // how many partitions there were at the first assignment
}

func newGroupSession(t *Transport, s driver.Subscription) *groupSession {
	g := &groupSession{events: newEvents(t, s), t: t}
	g.client.make = func() (*client, error) {
		return t.newClientWith(func(c *sarama.Config) {
			c.ChannelBufferSize = min(s.MaxFetch, 256)
			// For heartbeats too, which come dialPause apart when the coordinator is gone: a
			// member outlives a short absence. Sarama nests these retries: with more of them one
			// that is cut off for good takes minutes to give up.
			c.Metadata.Retry.Max = 10
			c.Metadata.Retry.Backoff = 100 * time.Millisecond
			c.Consumer.Group.InstanceId = g.instance
		})
	}
	return g
}

// static makes g the number-th static member for its topic and group, from 1.
func (g *groupSession) static(id string, number int) error {
	g.number = number
	g.instance = id + "-" + g.sub.Topic
	if number > 1 {
		g.instance += "-" + strconv.Itoa(number)
	}
	if !legal(g.instance) {
		return failCode(driver.CodeInvalidArgument, "subscribe", g.sub.Topic, "the static member's id, with the topic, is longer than 249 characters", nil)
	}
	return nil
}

func (g *groupSession) reset() { g.client.reset() }

// Close implements driver.Session.
func (g *groupSession) Close(ctx context.Context) error {
	g.begin()
	return g.waitDone(ctx, g.client.cut)
}

func (g *groupSession) run() {
	defer close(g.done)
	defer g.client.close()
	defer g.stop()
	defer g.leave()
	wait := 100 * time.Millisecond
	for g.ctx.Err() == nil {
		if err := g.t.monitor.ready(g.ctx, "subscribe", g.sub.Topic); err != nil {
			if refused(err) {
				g.lose(err)
				sleep(g.ctx, refusedBackoff)
			}
			continue
		}
		h, began := &groupHandler{session: g}, time.Now()
		missing, err := g.take(h)
		h.end(err)
		if g.ctx.Err() != nil {
			return
		}
		if err == nil {
			if g.mixed && g.agreed.Load() {
				g.change(false)
			}
			wait = 100 * time.Millisecond
			if time.Since(began) < wait { // so soon it is no rebalance but a claim that ends at once
				sleep(g.ctx, wait)
			}
			continue // a rebalance: join again at once
		}
		if errors.Is(err, sarama.ErrInconsistentGroupProtocol) && g.mayMix() {
			g.change(true)
			continue
		}
		g.t.opts.logger.Warn("consumer group session failed", "topic", g.sub.Topic, "group", g.sub.Group, "error", err)
		if missing || codeOf(err) == driver.CodeOutOfRange || codeOf(err) == driver.CodeInvalidArgument {
			g.fail(fail("subscribe", g.sub.Topic, err))
			return
		}
		g.lose(fail("subscribe", g.sub.Topic, err))
		switch {
		case refused(err), errors.Is(err, sarama.ErrFencedInstancedId):
			wait = refusedBackoff
		case h.set:
			wait = 100 * time.Millisecond
		}
		sleep(g.ctx, jitter(wait))
		wait = min(wait*2, returnBackoff)
	}
}

// take joins the group and takes part in it until the session ends: with an error, or
// with nil for a rebalance of everything. missing says that the topic does not exist.
func (g *groupSession) take(h *groupHandler) (missing bool, err error) {
	c, err := g.client.get()
	if err != nil {
		return false, err
	}
	if g.group == nil {
		if err := g.join(c); err != nil {
			return false, err
		}
	}
	if err := lookup(g.ctx, c, g.sub.Topic); err != nil {
		return codeOf(err) == driver.CodeNotFound, err
	}
	g.handler.Store(h)
	ctx, stop := g.whileConnected()
	err = g.group.Consume(ctx, []string{g.sub.Topic}, h)
	stop()
	g.handler.Store(nil)
	if err == nil {
		err = h.failure()
	}
	if err != nil && g.ctx.Err() == nil && codeOf(err) == driver.CodeUnavailable {
		_ = c.RefreshCoordinator(g.sub.Group) // sarama keeps asking the one that has gone
	}
	return false, err
}

// whileConnected returns a context that ends when there was no connection for as long
// as the group waits for a silent member: others have its partitions by then.
func (g *groupSession) whileConnected() (ctx context.Context, stop func()) {
	ctx, cancel := context.WithCancelCause(g.ctx)
	var watching sync.WaitGroup
	watching.Go(func() {
		for ctx.Err() == nil {
			state, changed := g.t.monitor.current()
			var late <-chan time.Time
			if state.State != driver.Connected {
				late = time.After(time.Until(state.Since.Add(g.t.opts.times.Session)))
			}
			select {
			case <-ctx.Done():
			case <-changed:
			case <-late:
				cancel(fail("subscribe", g.sub.Topic, state.Cause))
			}
		}
	})
	return ctx, func() {
		cancel(nil)
		watching.Wait()
	}
}

// join makes the consumer group, and drains its errors until it is closed.
func (g *groupSession) join(c *client) error {
	rebalance := &c.Config().Consumer.Group.Rebalance
	if g.configured == nil {
		g.configured = rebalance.GroupStrategies
	}
	rebalance.GroupStrategies = g.t.opts.offer(g.configured, g.mixed, g.chosen)
	g.agreed.Store(false)
	group, err := sarama.NewConsumerGroupFromClient(g.sub.Group, c)
	if err != nil {
		return err
	}
	g.group, g.drained = group, make(chan struct{})
	go func() {
		defer close(g.drained)
		for err := range group.Errors() {
			g.t.opts.logger.Debug("consumer group", "topic", g.sub.Topic, "group", g.sub.Group, "error", err)
		}
	}()
	return nil
}

// leave leaves the group; without an answer the session time-out does.
func (g *groupSession) leave() {
	if g.group != nil {
		_ = g.group.Close()
		<-g.drained
		g.group = nil
	}
}

// mayMix says that the member has offered cooperative-sticky only, and may offer more.
func (g *groupSession) mayMix() bool {
	return !g.mixed && isByOption(g.configured) && g.t.opts.consuming.balance == CooperativeSticky
}

// change makes the next member offer range besides, or no longer.
func (g *groupSession) change(mixed bool) {
	g.t.opts.logger.Info("the group's members change how they share partitions", "topic", g.sub.Topic, "group", g.sub.Group,
		"cooperative", !mixed)
	g.leave()
	g.mixed = mixed
}

// chosen is told the assignment before sarama acts on it.
func (g *groupSession) chosen(assigned map[string][]int32) {
	g.agreed.Store(true)
	if h := g.handler.Load(); h != nil {
		h.keep(assigned[g.sub.Topic])
	}
}
