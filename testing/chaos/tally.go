package chaos

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/trunkline/trunkline/bus"
)

// tally knows how far publishers and groups have come, while the load is at work.
type tally struct {
	mu      sync.Mutex
	streams map[string][]int          // what came through, by stream and partition
	handled map[string]map[Place]bool // by group
	reasons map[string]int            // of failed publishing and commits
}

func newTally(groups []string, partitions int32) *tally {
	t := &tally{streams: make(map[string][]int), handled: make(map[string]map[Place]bool), reasons: make(map[string]int)}
	t.streams[Publishing] = make([]int, partitions)
	for _, g := range groups {
		t.streams[g] = make([]int, partitions)
		t.handled[g] = make(map[Place]bool)
	}
	return t
}

func (t *tally) acknowledged(p int32) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.streams[Publishing][p]++
}

func (t *tally) handle(group string, at Place) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.handled[group][at] {
		t.handled[group][at] = true
		t.streams[group][at.Partition]++
	}
}

// failed counts an error by what is the same for all of its kind.
func (t *tally) failed(op string, err error) {
	reason := err.Error()
	if e, ok := errors.AsType[*bus.Error](err); ok {
		reason = strings.TrimSuffix(fmt.Sprintf("%v: %s", e.Code, e.Reason), ": ")
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.reasons[op+": "+reason]++
}

// flow waits until something has come through on every partition of every stream since
// it was called.
func (t *tally) flow(ctx context.Context) error {
	t.mu.Lock()
	before := make(map[string][]int)
	for name, counts := range t.streams {
		before[name] = append([]int(nil), counts...)
	}
	t.mu.Unlock()
	return try(ctx, func() error {
		t.mu.Lock()
		defer t.mu.Unlock()
		for name, counts := range t.streams {
			for p, n := range counts {
				if n > before[name][p] {
					continue
				}
				if name == Publishing {
					return fmt.Errorf("nothing is acknowledged on partition %d", p)
				}
				return fmt.Errorf("nothing is delivered to group %s on partition %d", name, p)
			}
		}
		return nil
	})
}

// drained waits until every group has handled all of the log.
func (t *tally) drained(ctx context.Context, log []Entry) error {
	return try(ctx, func() error {
		t.mu.Lock()
		defer t.mu.Unlock()
		for group, handled := range t.handled {
			for _, e := range log {
				if !handled[e.Place] {
					return fmt.Errorf("group %s has not handled %v at %v", group, e.Message, e.Place)
				}
			}
		}
		return nil
	})
}

func (t *tally) why() map[string]int {
	t.mu.Lock()
	defer t.mu.Unlock()
	all := make(map[string]int, len(t.reasons))
	for reason, n := range t.reasons {
		all[reason] = n
	}
	return all
}

// rest waits, unless ctx ends first.
func rest(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}
