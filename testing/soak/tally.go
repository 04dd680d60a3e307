package soak

import (
	"fmt"
	"slices"
	"sync"
	"time"
)

// tally holds what happened against the rules while it happens.
type tally struct {
	keys int

	mu        sync.Mutex
	changed   chan struct{} // closed and replaced when a message is done, and at a commit
	moves     int           // how often that was
	published int
	allowed   int    // may be published
	done      []bool // by message: handled without an error, or dead-lettered
	count     int    // of those
	begun     []int  // by message: handlings
	runs      int    // handlings
	failed    int
	again     int // handlings of messages that were done
	dead      map[int]bool
	parts     map[int32]*part

	last    time.Time // when a message was done that was not before
	silence time.Duration

	violations []string // the first of them
	broken     int      // how many there are
}

// part is what is known of one partition, which holds nothing but this run's messages.
type part struct {
	done      map[int64]bool // above prefix
	prefix    int64          // everything below is done
	committed int64
}

// mostShown is how many violations are kept.
const mostShown = 20

func newTally(messages, keys int) *tally {
	return &tally{keys: keys, changed: make(chan struct{}), done: make([]bool, messages), begun: make([]int, messages),
		dead: map[int]bool{}, parts: map[int32]*part{}, last: time.Now()}
}

// violate is called with mu held.
func (t *tally) violate(format string, args ...any) {
	t.broken++
	if len(t.violations) < mostShown {
		t.violations = append(t.violations, fmt.Sprintf(format, args...))
	}
}

// report is violate for who does not hold mu.
func (t *tally) report(format string, args ...any) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.violate(format, args...)
}

func (t *tally) part(id int32) *part {
	p := t.parts[id]
	if p == nil {
		p = &part{done: map[int64]bool{}}
		t.parts[id] = p
	}
	return p
}

// allow lets messages up to this one be published.
func (t *tally) allow(messages int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.allowed = messages
	t.move()
}

// room returns how many messages may be published, and a channel that is closed when
// something moves.
func (t *tally) room(ahead int) (upTo int, changed <-chan struct{}) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return min(t.allowed, t.count+ahead, len(t.done)), t.changed
}

// publish counts messages that are in the log.
func (t *tally) publish(n int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.published += n
}

// begin is the beginning of a handling, and returns how many of this message there were.
func (t *tally) begin(message int, member string) int {
	t.mu.Lock()
	defer t.mu.Unlock()
	if before := inKey(message, t.keys); before >= 0 && !t.done[before] {
		t.violate("skipped: %s began message %d when message %d, which is before it in its key, was not done", member, message, before)
	}
	t.begun[message]++
	t.runs++
	if t.done[message] {
		t.again++
	}
	return t.begun[message]
}

func (t *tally) fail() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.failed++
}

// finish is the end of a message: it was handled, or dead-lettered.
func (t *tally) finish(message int, partition int32, offset int64, dead bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if dead {
		t.dead[message] = true
	}
	p := t.part(partition)
	if offset >= p.prefix {
		p.done[offset] = true
		for p.done[p.prefix] {
			delete(p.done, p.prefix)
			p.prefix++
		}
	}
	if t.done[message] {
		return
	}
	t.done[message] = true
	t.count++
	now := time.Now()
	t.silence = max(t.silence, now.Sub(t.last))
	t.last = now
	t.move()
}

// move is called with mu held.
func (t *tally) move() {
	t.moves++
	close(t.changed)
	t.changed = make(chan struct{})
}

// commit is a commit of a position, which may have failed.
func (t *tally) commit(member string, partition int32, next int64, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	p := t.part(partition)
	if next > p.prefix {
		t.violate("premature: %s committed %d in partition %d, and %d was not done", member, next, partition, p.prefix)
	}
	if err == nil && next > p.committed {
		p.committed = next
		t.move()
	}
}

// progress returns how many are published and how many done, and a channel that is closed
// when something moves.
func (t *tally) progress() (published, done int, changed <-chan struct{}) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.published, t.count, t.changed
}

// complete says that nothing is left to be done: every message is, and committed.
func (t *tally) complete() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, p := range t.parts {
		if p.committed < p.prefix {
			return false
		}
	}
	return t.count == len(t.done)
}

// settle adds what can only be seen in the end. deadLetters is how often each message is in
// the dead-letter topic, nil when that was not looked at.
func (t *tally) settle(deadLetters map[int]int) (lost int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for message, done := range t.done {
		if done {
			continue
		}
		lost++
		t.violate("lost: message %d was begun %d times and never done", message, t.begun[message])
	}
	for message := range t.dead {
		if deadLetters != nil && deadLetters[message] == 0 {
			lost++
			t.violate("lost: message %d was acknowledged as dead-lettered and is not in the dead-letter topic", message)
		}
	}
	total := int64(0)
	for id, p := range t.parts {
		total += p.prefix
		if p.committed != p.prefix {
			t.violate("uncommitted: partition %d was done up to %d and committed up to %d", id, p.prefix, p.committed)
		}
		if len(p.done) > 0 {
			t.violate("skipped: partition %d was done up to %d, and %d messages after that", id, p.prefix, len(p.done))
		}
	}
	if lost == 0 && total != int64(len(t.done)) {
		t.violate("uncommitted: %d messages are in the log, and the partitions were done up to %d in all", len(t.done), total)
	}
	return lost
}

// moved returns how often something moved.
func (t *tally) moved() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.moves
}

// rules returns the rules that were broken, in words.
func (t *tally) rules() []string {
	t.mu.Lock()
	defer t.mu.Unlock()
	all := slices.Clone(t.violations)
	if t.broken > len(all) {
		all = append(all, fmt.Sprintf("and %d more", t.broken-len(all)))
	}
	return all
}
