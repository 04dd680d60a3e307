package consumer

import (
	"context"
	"fmt"

	"github.com/trunkline/trunkline/liveness/probe"
)

// probeTarget has the arguments of WithProbe.
type probeTarget struct {
	registry *probe.Registry
	service  string
}

func (c *Consumer) registerProbe() {
	if t := c.cfg.probe; t != nil {
		t.registry.Register(t.service, probe.WithDetails(c.details))
		c.updateProbe()
	}
}

// updateProbe writes the current state to the registry. It must be called after each change
// of the state, without mu held. probeMu ensures that the last update has the latest state.
func (c *Consumer) updateProbe() {
	t := c.cfg.probe
	if t == nil {
		return
	}
	c.probeMu.Lock()
	defer c.probeMu.Unlock()
	c.mu.Lock()
	now, err := c.history.current(), c.err
	c.mu.Unlock()
	t.registry.Update(t.service, probeStatus(now, err), now.Cause)
}

func probeStatus(now Change, err error) probe.Status {
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

// details returns what /detailz shows.
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
