package chaos

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"strings"
	"sync"
	"time"

	"github.com/trunkline/trunkline/bus"
)

// progress counts what publishers and groups have done while the load runs.
type progress struct {
	mu      sync.Mutex
	counts  map[string][]int          // acknowledged or handled messages, by stream and partition
	handled map[string]map[Place]bool // by group
	errors  map[string]int            // of publishes and commits, by operation and reason
}

func newProgress(groups []string, partitions int32) *progress {
	p := &progress{counts: make(map[string][]int), handled: make(map[string]map[Place]bool), errors: make(map[string]int)}
	p.counts[Publishing] = make([]int, partitions)
	for _, g := range groups {
		p.counts[g] = make([]int, partitions)
		p.handled[g] = make(map[Place]bool)
	}
	return p
}

func (p *progress) addAcknowledged(partition int32) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.counts[Publishing][partition]++
}

func (p *progress) addHandled(group string, at Place) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.handled[group][at] {
		p.handled[group][at] = true
		p.counts[group][at.Partition]++
	}
}

// addError counts an error by its code and reason, without details that differ between errors.
func (p *progress) addError(op string, err error) {
	reason := err.Error()
	if e, ok := errors.AsType[*bus.Error](err); ok {
		reason = strings.TrimSuffix(fmt.Sprintf("%v: %s", e.Code, e.Reason), ": ")
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.errors[op+": "+reason]++
}

// waitForAll waits until, since the call, each partition has had an acknowledged message, and each group
// has handled a new message of each partition.
func (p *progress) waitForAll(ctx context.Context) error {
	p.mu.Lock()
	before := make(map[string][]int)
	for name, counts := range p.counts {
		before[name] = append([]int(nil), counts...)
	}
	p.mu.Unlock()
	return retry(ctx, func() error {
		p.mu.Lock()
		defer p.mu.Unlock()
		for name, counts := range p.counts {
			for partition, n := range counts {
				if n > before[name][partition] {
					continue
				}
				if name == Publishing {
					return fmt.Errorf("no message was acknowledged on partition %d", partition)
				}
				return fmt.Errorf("group %s handled no new message of partition %d", name, partition)
			}
		}
		return nil
	})
}

// waitForLog waits until every group has handled every record of the log.
func (p *progress) waitForLog(ctx context.Context, log []Entry) error {
	return retry(ctx, func() error {
		p.mu.Lock()
		defer p.mu.Unlock()
		for group, handled := range p.handled {
			for _, e := range log {
				if !handled[e.Place] {
					return fmt.Errorf("group %s has not handled %v at %v", group, e.Message, e.Place)
				}
			}
		}
		return nil
	})
}

func (p *progress) errorCounts() map[string]int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return maps.Clone(p.errors)
}

// sleep waits for d, or until ctx ends.
func sleep(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}
