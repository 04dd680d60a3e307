package consumer

import (
	"context"
	"fmt"

	"github.com/trunkline/trunkline/liveness/probe"
)

// reporting is what WithProbe asks for.
type reporting struct {
	registry *probe.Registry
	service  string
}

func (c *Consumer) register() {
	if r := c.cfg.report; r != nil {
		r.registry.Register(r.service, probe.WithDetails(c.details))
		c.report()
	}
}

// report tells the registry the present state. Whoever changes the state calls it without
// the lock; the latest state is told last.
func (c *Consumer) report() {
	r := c.cfg.report
	if r == nil {
		return
	}
	c.reporting.Lock()
	defer c.reporting.Unlock()
	c.mu.Lock()
	now, err := c.history.now(), c.err
	c.mu.Unlock()
	r.registry.Update(r.service, statusOf(now, err), now.Cause)
}

func statusOf(now Change, err error) probe.Status {
	switch {
	case now.State == Closed:
		return probe.Stopped
	case now.State == Consuming:
		return probe.Running
	case now.State == Stopped && err != nil:
		return probe.Failed
	case now.State == Stopped || now.State == Initialising:
		return probe.Prepared
	case now.State == Starting && now.Cause == nil:
		return probe.Preparing
	default:
		return probe.NotReady
	}
}

// details is what /detailz shows.
func (c *Consumer) details(context.Context) map[string]any {
	s := c.Stats()
	d := map[string]any{
		"topic": c.topic, "state": s.State.String(), "since": s.Since, "paused": s.Paused,
		"in_flight": s.InFlight, "blocked": s.Blocked, "handled": s.Handled, "failed": s.Failed, "retried": s.Retried,
		"postponed": s.Postponed, "dead_lettered": s.DeadLettered, "dropped": s.Dropped, "interrupted": s.Interrupted,
		"latency": s.Latency().String(),
	}
	if c.group != "" {
		d["group"] = c.group
	}
	if s.Cause != nil {
		d["cause"] = s.Cause.Error()
	}
	if len(s.Lag) > 0 {
		lag := map[string]int64{}
		for _, l := range s.Lag {
			lag[fmt.Sprintf("%s/%d", l.Topic, l.Partition)] = l.Records
		}
		d["lag"] = lag
	}
	return d
}
