package soak

import (
	"fmt"
	"slices"
	"sync"
	"time"
)

// checker checks the rules during the run. A message is done when it was handled without an error, or
// published to the dead-letter topic.
type checker struct {
	keys int

	mu           sync.Mutex
	changed      chan struct{} // closed and replaced at each change
	changes      int
	published    int
	allowed      int          // the number of messages that may be published
	done         []bool       // by message
	doneCount    int          // the number of messages that are done
	started      []int        // how often a message was delivered to a handler, by message
	handlings    int          // handler calls
	failed       int          // handler calls that failed on purpose
	redelivered  int          // handler calls for a message that was done
	deadLettered map[int]bool // by message
	partitions   map[int32]*partition

	lastDone      time.Time // when a message became done
	longestOutage time.Duration

	violations     []string // the first maxViolations
	violationCount int
}

// partition is the state of one partition. The topic has only messages of this run, so offsets count
// messages.
type partition struct {
	done      map[int64]bool // the offsets that are done, at or above next
	next      int64          // every offset below is done
	committed int64
}

// maxViolations is how many violations are described.
const maxViolations = 20

func newChecker(messages, keys int) *checker {
	return &checker{keys: keys, changed: make(chan struct{}), done: make([]bool, messages), started: make([]int, messages),
		deadLettered: map[int]bool{}, partitions: map[int32]*partition{}, lastDone: time.Now()}
}

// reportLocked is report for a caller that holds mu.
func (c *checker) reportLocked(format string, args ...any) {
	c.violationCount++
	if len(c.violations) < maxViolations {
		c.violations = append(c.violations, fmt.Sprintf(format, args...))
	}
}

// report reports a violation.
func (c *checker) report(format string, args ...any) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.reportLocked(format, args...)
}

func (c *checker) partition(id int32) *partition {
	p := c.partitions[id]
	if p == nil {
		p = &partition{done: map[int64]bool{}}
		c.partitions[id] = p
	}
	return p
}

// allow sets how many messages may be published.
func (c *checker) allow(messages int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.allowed = messages
	c.change()
}

// publishLimit returns how many messages may be published now, and a channel that is closed at the next
// change.
func (c *checker) publishLimit(maxUnhandled int) (limit int, changed <-chan struct{}) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return min(c.allowed, c.doneCount+maxUnhandled, len(c.done)), c.changed
}

// publish counts messages that are in the log.
func (c *checker) publish(n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.published += n
}

// start checks and counts a call of a handler. It returns how often the message was delivered, from 1.
func (c *checker) start(message int, member string) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	if previous := previousOfKey(message, c.keys); previous >= 0 && !c.done[previous] {
		c.reportLocked("out of order: %s started message %d before message %d of the same key was done", member, message, previous)
	}
	c.started[message]++
	c.handlings++
	if c.done[message] {
		c.redelivered++
	}
	return c.started[message]
}

// fail counts a handler call that failed on purpose.
func (c *checker) fail() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.failed++
}

// finish records that a message is done.
func (c *checker) finish(message int, partition int32, offset int64, deadLettered bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if deadLettered {
		c.deadLettered[message] = true
	}
	p := c.partition(partition)
	if offset >= p.next {
		p.done[offset] = true
		for p.done[p.next] {
			delete(p.done, p.next)
			p.next++
		}
	}
	if c.done[message] {
		return
	}
	c.done[message] = true
	c.doneCount++
	now := time.Now()
	c.longestOutage = max(c.longestOutage, now.Sub(c.lastDone))
	c.lastDone = now
	c.change()
}

// change notifies the waiting goroutines. The caller holds mu.
func (c *checker) change() {
	c.changes++
	close(c.changed)
	c.changed = make(chan struct{})
}

// commit checks and records a commit; err is the error of the commit.
func (c *checker) commit(member string, partition int32, next int64, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	p := c.partition(partition)
	if next > p.next {
		c.reportLocked("premature commit: %s committed offset %d in partition %d before offset %d was done", member, next, partition, p.next)
	}
	if err == nil && next > p.committed {
		p.committed = next
		c.change()
	}
}

// progress returns how many messages are published and how many are done, and a channel that is closed at the
// next change.
func (c *checker) progress() (published, done int, changed <-chan struct{}) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.published, c.doneCount, c.changed
}

// complete reports whether every message is done and committed.
func (c *checker) complete() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, p := range c.partitions {
		if p.committed < p.next {
			return false
		}
	}
	return c.doneCount == len(c.done)
}

// checkEnd checks the rules that hold only at the end of a run, and returns the number of lost messages.
// deadLetters counts each message in the dead-letter topic; nil means that the topic was not read.
func (c *checker) checkEnd(deadLetters map[int]int) (lost int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for message, done := range c.done {
		if done {
			continue
		}
		lost++
		c.reportLocked("lost: message %d was started %d times, but never done", message, c.started[message])
	}
	for message := range c.deadLettered {
		if deadLetters != nil && deadLetters[message] == 0 {
			lost++
			c.reportLocked("lost: message %d was reported as a dead letter, but is not in the dead-letter topic", message)
		}
	}
	total := int64(0)
	for id, p := range c.partitions {
		total += p.next
		if p.committed != p.next {
			c.reportLocked("uncommitted: partition %d is done up to offset %d, but committed up to %d", id, p.next, p.committed)
		}
		if len(p.done) > 0 {
			c.reportLocked("lost: partition %d is done up to offset %d, and at %d offsets above it", id, p.next, len(p.done))
		}
	}
	if lost == 0 && total != int64(len(c.done)) {
		c.reportLocked("uncommitted: the log has %d messages, but the partitions are done up to %d messages in all", len(c.done), total)
	}
	return lost
}

// changeCount returns the number of changes so far.
func (c *checker) changeCount() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.changes
}

// violationTexts returns the first violations, and a text with the number of the others.
func (c *checker) violationTexts() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	all := slices.Clone(c.violations)
	if c.violationCount > len(all) {
		all = append(all, fmt.Sprintf("and %d more", c.violationCount-len(all)))
	}
	return all
}
