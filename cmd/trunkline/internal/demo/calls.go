package demo

import (
	"slices"
	"sync"
	"time"

	"google.golang.org/grpc/codes"

	"github.com/trunkline/trunkline/examples/devices"
	"github.com/trunkline/trunkline/rpc"
)

// calls records every call that has ended. It is safe for concurrent use.
type calls struct {
	mu  sync.Mutex
	all []devices.Call
	ok  int
}

// add records a call, and returns how many calls have succeeded so far.
func (c *calls) add(call devices.Call) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.all = append(c.all, call)
	if call.Err == nil {
		c.ok++
	}
	return c.ok
}

func (c *calls) ended() []devices.Call {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.all)
}

// span is an interval of time; the zero span is empty.
type span struct{ from, to time.Time }

func (s span) isZero() bool { return s.from.IsZero() }

func (s span) overlaps(c devices.Call) bool {
	return !s.isZero() && c.Began.Before(s.to) && c.Began.Add(c.Took).After(s.from)
}

// tally summarizes the calls. cut is the interval from the cut until the core was ready
// again.
func tally(all []devices.Call, cut span) CallReport {
	r := CallReport{Total: len(all), FailedByCode: map[string]int{}, PendingAtCut: Pending{EndedWith: map[string]int{}}}
	var overall, outside []time.Duration
	for _, c := range all {
		atCut := !cut.isZero() && c.Began.Before(cut.from) && c.Began.Add(c.Took).After(cut.from)
		if atCut {
			r.PendingAtCut.Calls++
		}
		if c.Attempt > 1 {
			r.Repeated++
		}
		if c.Err != nil {
			r.Failed++
			code := codeName(c.Err)
			r.FailedByCode[code]++
			if atCut {
				r.PendingAtCut.EndedWith[code]++
			}
			continue
		}
		r.OK++
		if atCut {
			r.PendingAtCut.Replied++
		}
		overall = append(overall, c.Took)
		if !cut.overlaps(c) {
			outside = append(outside, c.Took)
		}
	}
	r.Overall, r.OutsideCut = latency(overall), latency(outside)
	return r
}

func codeName(err error) string {
	if code := rpc.CodeOf(err); code != codes.OK {
		return code.String()
	}
	return codes.Unknown.String()
}

func latency(d []time.Duration) Latency {
	slices.Sort(d)
	at := func(q float64) Millis {
		if len(d) == 0 {
			return 0
		}
		return Millis(d[min(len(d)-1, int(q*float64(len(d))))])
	}
	return Latency{Calls: len(d), P50: at(0.50), P99: at(0.99)}
}
