package bus

import (
	"sync/atomic"
	"time"
)

// Later is returned by a handler that does not know yet whether the message may be
// acknowledged: somebody who does will call [Delivery.Settle]. It is for subscriptions
// with [SettleLater]; with others it is an error like any.
//
// It lets a handler's goroutine go where there is only an outcome to wait for, such as
// that of a message it has published. Until it is settled the message counts as being
// handled: for the window, for InFlight, for the order by key, and for whoever waits for
// handlers, Close and a partition that is taken away among them. So whoever is to settle
// it has to, soon after the delivery's context has ended.
var Later error = &control{verb: verbLater}

// SettleLater allows the handler to return [Later]. It is CodeInvalidArgument for batches,
// with OrderByPartition, and with AtMostOnce, where nothing would come of it.
func SettleLater() SubscribeOption {
	return func(c *subscribeConfig) error {
		c.later = true
		return nil
	}
}

// Settle says what a handler that returned Later could not: err is what it would have
// returned. It is called exactly once for each delivery that is answered with Later,
// from any goroutine, before or after the handler returns. It does not block.
func (d *Delivery) Settle(err error) {
	l := d.later
	if l == nil {
		panic("bus: Settle of a delivery whose subscription has no SettleLater")
	}
	if l.outcome = err; l.both() {
		l.claim.settled(l.entry)
	}
}

// later is what an entry has besides when its handler may return Later.
type later struct {
	claim *claim
	entry *entry

	sides   atomic.Int32 // of the two, the handler's return and Settle, that have come
	outcome error        // what Settle was told
	back    bool         // it goes on with the outcome, instead of with a delivery
	// Of the delivery whose handler returned Later.
	attempt int
	begun   time.Time
	end     func(error)
}

// both returns true to the second side that comes: it is to go on, and the first is not
// concerned any more.
func (l *later) both() bool { return l.sides.Add(1) == 2 }

// laterOf returns e's, ready for another delivery; nil without SettleLater.
func (c *claim) laterOf(e *entry) *later {
	if !c.sub.cfg.later {
		return nil
	}
	if e.later == nil {
		e.later = &later{claim: c, entry: e}
	}
	e.later.sides.Store(0)
	return e.later
}

// settled goes on with a record whose handler has returned Later, and whose outcome is
// there. It does not block: that is for the crew.
func (c *claim) settled(e *entry) {
	l := e.later
	c.delivered(e, l.attempt, l.begun, l.end, l.outcome)
	if l.outcome != nil || *c.sub.cfg.commitInterval == 0 {
		l.back = true
		c.crew.back(e)
		return
	}
	behind := c.ack(e)
	if f := c.sub.inFlight; f != nil {
		f.give(1)
	}
	c.crew.back(behind)
}

func isLater(err error) bool {
	ctl, ok := controlOf(err)
	return ok && ctl.verb == verbLater
}
