package bustest

import (
	"slices"
	"sync"

	"github.com/trunkline/trunkline/bus/hook"
)

// Recorder is a hook that records every message that is published, delivered or committed on the
// buses that use it, with any transport:
//
//	rec := bustest.NewRecorder()
//	b, err := bus.New(transport, bus.WithHooks(rec))
//
// All buses of a [Kit] share one. The recorder records a message when its outcome is known, which
// on transport/memory is before Publish returns, and a delivery when its handler has returned. It
// keeps everything in memory until [Recorder.Reset], so use it in tests only. All methods are safe
// for concurrent use and return copies.
type Recorder struct {
	mu         sync.Mutex
	published  []Message
	deliveries []Delivery
	commits    []Commit
	counts     map[groupOffset]int   // deliveries, by group and message
	committed  map[groupOffset]int64 // the highest recorded commit, by group and partition; Reset keeps it
	lastNumber int
	changed    chan struct{} // closed and replaced whenever something is recorded
}

// groupOffset identifies a message, a partition (offset 0) or a topic (partition 0, offset 0) of a
// group.
type groupOffset struct {
	group, topic string
	partition    int32
	offset       int64
}

var (
	_ hook.Publish  = (*Recorder)(nil)
	_ hook.Delivery = (*Recorder)(nil)
	_ hook.Commit   = (*Recorder)(nil)
)

// NewRecorder returns an empty recorder.
func NewRecorder() *Recorder {
	return &Recorder{counts: map[groupOffset]int{}, committed: map[groupOffset]int64{}, changed: make(chan struct{})}
}

// OnPublish implements [hook.Publish].
func (r *Recorder) OnPublish(e hook.PublishEvent) {
	m := messageOfPublish(e)
	r.mu.Lock()
	defer r.mu.Unlock()
	m.number = r.recordChange()
	r.published = append(r.published, m)
}

// OnDelivery implements [hook.Delivery].
func (r *Recorder) OnDelivery(e hook.DeliveryEvent) {
	d := deliveryOf(e)
	r.mu.Lock()
	defer r.mu.Unlock()
	d.number, d.Count = r.recordChange(), d.Attempt
	if d.Group != "" {
		at := groupOffset{d.Group, d.Topic, d.Partition, d.Offset}
		r.counts[at]++
		d.Count = r.counts[at]
	}
	r.deliveries = append(r.deliveries, d)
}

// OnCommit implements [hook.Commit].
func (r *Recorder) OnCommit(e hook.CommitEvent) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.recordChange()
	if at := (groupOffset{group: e.Group, topic: e.Topic, partition: e.Partition}); e.Err == nil {
		r.committed[at] = max(r.committed[at], e.Next)
	}
	r.commits = append(r.commits, Commit{Topic: e.Topic, Group: e.Group, Partition: e.Partition, Offset: e.Next, Err: e.Err})
}

// hasCommit reports whether the claim's last commit is recorded. The bus calls the hook after the
// commit, so the recorder gets the commit a moment later.
func (r *Recorder) hasCommit(s *claimState) bool {
	sub := &s.claim.s.sub
	r.mu.Lock()
	defer r.mu.Unlock()
	return s.committed <= r.committed[groupOffset{group: sub.Group, topic: sub.Topic, partition: s.claim.ID()}]
}

// recordChange wakes the waiting expectations and returns a new number. The caller holds mu.
func (r *Recorder) recordChange() int {
	r.lastNumber++
	close(r.changed)
	r.changed = make(chan struct{})
	return r.lastNumber
}

// Published returns the messages that were published to the topic ("" means every topic), in the
// order in which their outcomes were known.
func (r *Recorder) Published(topic string) []Message {
	return r.messages(topic, func(m Message) bool { return m.Err == nil })
}

// PublishFailures returns the messages that could not be published to the topic ("" means every
// topic), or whose outcome is unknown. Message.Err says why.
func (r *Recorder) PublishFailures(topic string) []Message {
	return r.messages(topic, func(m Message) bool { return m.Err != nil })
}

func (r *Recorder) messages(topic string, keep func(Message) bool) []Message {
	r.mu.Lock()
	defer r.mu.Unlock()
	return filter(r.published, func(m Message) bool { return (topic == "" || m.Topic == topic) && keep(m) })
}

// Deliveries returns the deliveries of messages of the topic ("" means every topic), in the order
// in which their handlers returned.
func (r *Recorder) Deliveries(topic string) []Delivery {
	r.mu.Lock()
	defer r.mu.Unlock()
	return filter(r.deliveries, func(d Delivery) bool { return topic == "" || d.Topic == topic })
}

// Commits returns the commits on the topic ("" means every topic), failed ones included, in the
// order in which they were made.
func (r *Recorder) Commits(topic string) []Commit {
	r.mu.Lock()
	defer r.mu.Unlock()
	return filter(r.commits, func(c Commit) bool { return topic == "" || c.Topic == topic })
}

// Reset removes everything that was recorded so far.
func (r *Recorder) Reset() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.published, r.deliveries, r.commits = nil, nil, nil
	clear(r.counts)
}

// changes returns a channel that is closed when something is recorded.
func (r *Recorder) changes() <-chan struct{} {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.changed
}

func filter[T any](all []T, keep func(T) bool) []T {
	var kept []T
	for _, x := range all {
		if keep(x) {
			kept = append(kept, x)
		}
	}
	return slices.Clip(kept)
}
