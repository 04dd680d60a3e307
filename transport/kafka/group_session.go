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

// groupSession is one membership in a consumer group. It lasts across rebalances and
// outages.
type groupSession struct {
	*sessionEvents
	t          *Transport
	client     lazyClient
	instanceID string // "" for a member that is not static
	number     int    // among the static members of this transport in this topic and group
	failing    *repeatedWarning

	// Only run uses these.
	group      sarama.ConsumerGroup
	drained    chan struct{} // closed when all errors of group were read
	configured []sarama.BalanceStrategy
	rangeToo   bool // a member of the group does not support cooperative-sticky

	cooperative atomic.Bool                 // the last rebalance chose a strategy that can be cooperative
	current     atomic.Pointer[groupClaims] // of sarama's current session
	// initialPartitions is the number of partitions at the first assignment. Partitions
	// from this number on were added later.
	initialPartitions atomic.Int32
}

func newGroupSession(t *Transport, s driver.Subscription) *groupSession {
	g := &groupSession{sessionEvents: newSessionEvents(t, s), t: t}
	g.failing = &repeatedWarning{logger: t.opts.logger, message: "consumer group session failed, joining again"}
	g.client.make = func() (*client, error) {
		return t.newClientWith(func(c *sarama.Config) {
			c.ChannelBufferSize = min(s.MaxFetch, 256)
			// These retries also apply to heartbeats. While the coordinator is unavailable,
			// the attempts are dialPause apart, so ten retries let a member survive a short
			// outage. sarama nests the retries. With more of them, a member without a
			// connection would retry for minutes before it fails.
			c.Metadata.Retry.Max = 10
			c.Metadata.Retry.Backoff = 100 * time.Millisecond
			c.Consumer.Group.InstanceId = g.instanceID
		})
	}
	return g
}

// setStatic makes g a static member. number counts the static members of this transport in
// the same topic and group, from 1.
func (g *groupSession) setStatic(id string, number int) error {
	g.number = number
	g.instanceID = id + "-" + g.sub.Topic
	if number > 1 {
		g.instanceID += "-" + strconv.Itoa(number)
	}
	if !isLegalName(g.instanceID) {
		return failCode(driver.CodeInvalidArgument, "subscribe", g.sub.Topic,
			"the group instance ID with the topic is longer than 249 characters: use a shorter ID for WithStaticMembership", nil)
	}
	return nil
}

func (g *groupSession) reset() { g.client.reset() }

// Close implements driver.Session.
func (g *groupSession) Close(ctx context.Context) error {
	g.beginClose()
	return g.waitDone(ctx, g.client.closeNetwork)
}

func (g *groupSession) run() {
	defer close(g.done)
	defer g.client.close()
	defer g.stop()
	defer g.leave()
	pause := firstRetryPause
	for g.ctx.Err() == nil {
		if err := g.t.connection.ready(g.ctx, "subscribe", g.sub.Topic); err != nil {
			if isRefused(err) {
				g.reportLost(err)
				sleep(g.ctx, refusedPause)
			}
			continue
		}
		claims, began := &groupClaims{session: g}, time.Now()
		missing, err := g.consume(claims)
		claims.endAll(err)
		if g.ctx.Err() != nil {
			return
		}
		if err == nil {
			if g.rangeToo && g.cooperative.Load() {
				g.setRangeToo(false)
			}
			pause = firstRetryPause
			if time.Since(began) < pause { // not a rebalance, but a claim that ended at once
				sleep(g.ctx, pause)
			}
			continue // after a rebalance: join again at once
		}
		if errors.Is(err, sarama.ErrInconsistentGroupProtocol) && g.canOfferRange() {
			g.setRangeToo(true)
			continue
		}
		if missing || codeOf(err) == driver.CodeOutOfRange || codeOf(err) == driver.CodeInvalidArgument {
			g.fail(fail("subscribe", g.sub.Topic, err))
			return
		}
		g.failing.log("topic", g.sub.Topic, "group", g.sub.Group, "error", err)
		g.reportLost(fail("subscribe", g.sub.Topic, err))
		switch {
		case isRefused(err), errors.Is(err, sarama.ErrFencedInstancedId):
			pause = refusedPause
		case claims.setUp:
			pause = firstRetryPause
		}
		sleep(g.ctx, jitter(pause))
		pause = min(pause*2, maxRetryPause)
	}
}

// consume joins the group and takes part in it until sarama's session ends. It returns nil
// after a rebalance that ended all claims. missing reports that the topic does not exist.
func (g *groupSession) consume(claims *groupClaims) (missing bool, err error) {
	c, err := g.client.get()
	if err != nil {
		return false, err
	}
	if g.group == nil {
		if err := g.join(c); err != nil {
			return false, err
		}
	}
	if err := lookupTopic(g.ctx, c, g.sub.Topic); err != nil {
		return codeOf(err) == driver.CodeNotFound, err
	}
	g.current.Store(claims)
	ctx, stop := g.whileConnected()
	err = g.group.Consume(ctx, []string{g.sub.Topic}, claims)
	stop()
	g.current.Store(nil)
	if err == nil {
		err = claims.failure()
	}
	if err != nil && g.ctx.Err() == nil && codeOf(err) == driver.CodeUnavailable {
		_ = c.RefreshCoordinator(g.sub.Group) // otherwise sarama asks the old coordinator again
	}
	return false, err
}

// whileConnected returns a context that ends when there has been no connection for
// Timeouts.Session. The group has removed this member by then.
func (g *groupSession) whileConnected() (ctx context.Context, stop func()) {
	ctx, cancel := context.WithCancelCause(g.ctx)
	var watching sync.WaitGroup
	watching.Go(func() {
		for ctx.Err() == nil {
			state, changed := g.t.connection.current()
			var expired <-chan time.Time
			if state.State != driver.Connected {
				expired = time.After(time.Until(state.Since.Add(g.t.opts.times.Session)))
			}
			select {
			case <-ctx.Done():
			case <-changed:
			case <-expired:
				cancel(fail("subscribe", g.sub.Topic, state.Cause))
			}
		}
	})
	return ctx, func() {
		cancel(nil)
		watching.Wait()
	}
}

// join makes the consumer group, and reads its errors until it is closed.
func (g *groupSession) join(c *client) error {
	rebalance := &c.Config().Consumer.Group.Rebalance
	if g.configured == nil {
		g.configured = rebalance.GroupStrategies
	}
	rebalance.GroupStrategies = g.t.opts.groupStrategies(g.configured, g.rangeToo, g.onAssignment)
	g.cooperative.Store(false)
	group, err := sarama.NewConsumerGroupFromClient(g.sub.Group, c)
	if err != nil {
		return err
	}
	g.group, g.drained = group, make(chan struct{})
	go func() {
		defer close(g.drained)
		for err := range group.Errors() {
			g.t.opts.logger.Debug("consumer group reported an error", "topic", g.sub.Topic, "group", g.sub.Group, "error", err)
		}
	}()
	return nil
}

// leave leaves the group. If the coordinator does not answer, the group removes the member
// after the session time-out.
func (g *groupSession) leave() {
	if g.group != nil {
		_ = g.group.Close()
		<-g.drained
		g.group = nil
	}
}

// canOfferRange reports whether the member has only offered cooperative-sticky so far, and
// may offer range too.
func (g *groupSession) canOfferRange() bool {
	return !g.rangeToo && hasPlaceholder(g.configured) && g.t.opts.consumer.balance == CooperativeSticky
}

// setRangeToo sets whether the next join offers range too, and leaves the group.
func (g *groupSession) setRangeToo(rangeToo bool) {
	g.t.opts.logger.Info("changing the balance strategy to one that all members of the group support",
		"topic", g.sub.Topic, "group", g.sub.Group, "cooperative", !rangeToo)
	g.leave()
	g.rangeToo = rangeToo
}

// onAssignment ends the claims that a new assignment does not contain, before sarama acts
// on the assignment.
func (g *groupSession) onAssignment(assigned map[string][]int32) {
	g.cooperative.Store(true)
	if claims := g.current.Load(); claims != nil {
		claims.endUnassigned(assigned[g.sub.Topic])
	}
}
