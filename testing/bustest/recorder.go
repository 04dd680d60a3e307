package bustest

import (
	"slices"
	"sync"

	"github.com/trunkline/trunkline/bus"
)

// Recorder keeps what is published, delivered and committed on every bus that it is a
// hook of, on any transport:
//
//	rec := bustest.NewRecorder()
//	b, err := bus.New(transport, bus.WithHooks(rec))
//
// A [Kit] has one on all of its buses. A message counts as published when its outcome is
// known, which with memory is before Publish returns; a delivery when its handler has
// returned. It keeps everything until [Recorder.Reset], so it is for tests. All methods are
// safe for concurrent use, and what they return is a snapshot that is the caller's.
type Recorder struct {
	mu         sync.Mutex
	published  []Message
	deliveries []Delivery
	commits    []Commit
	counts     map[standing]int
	positions  map[standing]int64 // how far the commits are that were told, by partition; not for Reset
	numbers    int
	changed    chan struct{} // closed and replaced whenever something was added
}

// standing is where a message stands for a group.
type standing struct {
	group, topic string
	partition    int32
	offset       int64
}

var (
	_ bus.PublishHook  = (*Recorder)(nil)
	_ bus.DeliveryHook = (*Recorder)(nil)
	_ bus.CommitHook   = (*Recorder)(nil)
)

// NewRecorder returns an empty recorder.
func NewRecorder() *Recorder {
	return &Recorder{counts: map[standing]int{}, positions: map[standing]int64{}, changed: make(chan struct{})}
}

// OnPublish implements [bus.PublishHook].
func (r *Recorder) OnPublish(e bus.PublishEvent) {
	m := ofPublish(e)
	r.mu.Lock()
	defer r.mu.Unlock()
	m.number = r.next()
	r.published = append(r.published, m)
}

// OnDelivery implements [bus.DeliveryHook].
func (r *Recorder) OnDelivery(e bus.DeliveryEvent) {
	d := ofDelivery(e)
	r.mu.Lock()
	defer r.mu.Unlock()
	d.number, d.Count = r.next(), d.Attempt
	if d.Group != "" {
		at := standing{d.Group, d.Topic, d.Partition, d.Offset}
		r.counts[at]++
		d.Count = r.counts[at]
	}
	r.deliveries = append(r.deliveries, d)
}

// OnCommit implements [bus.CommitHook].
func (r *Recorder) OnCommit(e bus.CommitEvent) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.next()
	if at := (standing{group: e.Group, topic: e.Topic, partition: e.Partition}); e.Err == nil {
		r.positions[at] = max(r.positions[at], e.Next)
	}
	r.commits = append(r.commits, Commit{Topic: e.Topic, Group: e.Group, Partition: e.Partition, Next: e.Next, Err: e.Err})
}

// knows says whether the recorder was told of what the claim has committed, which is after
// that is done.
func (r *Recorder) knows(s *state) bool {
	sub := &s.claim.s.sub
	r.mu.Lock()
	defer r.mu.Unlock()
	return s.committed <= r.positions[standing{group: sub.Group, topic: sub.Topic, partition: s.claim.ID()}]
}

// next is called with mu held.
func (r *Recorder) next() int {
	r.numbers++
	close(r.changed)
	r.changed = make(chan struct{})
	return r.numbers
}

// Published returns what the log has of what was published to the topic, "" for every
// topic, in the order in which the publishers were told.
func (r *Recorder) Published(topic string) []Message {
	return r.messages(topic, func(m Message) bool { return m.Err == nil })
}

// Unpublished returns what could not be published to the topic, "" for every topic, or of
// which the outcome is unknown; Err says why.
func (r *Recorder) Unpublished(topic string) []Message {
	return r.messages(topic, func(m Message) bool { return m.Err != nil })
}

func (r *Recorder) messages(topic string, keep func(Message) bool) []Message {
	r.mu.Lock()
	defer r.mu.Unlock()
	return filter(r.published, func(m Message) bool { return (topic == "" || m.Topic == topic) && keep(m) })
}

// Deliveries returns every return of a handler for the topic, "" for every topic, in the
// order in which they returned.
func (r *Recorder) Deliveries(topic string) []Delivery {
	r.mu.Lock()
	defer r.mu.Unlock()
	return filter(r.deliveries, func(d Delivery) bool { return topic == "" || d.Topic == topic })
}

// Commits returns the commits on the topic, "" for every topic, those that failed among
// them, in the order in which they were made.
func (r *Recorder) Commits(topic string) []Commit {
	r.mu.Lock()
	defer r.mu.Unlock()
	return filter(r.commits, func(c Commit) bool { return topic == "" || c.Topic == topic })
}

// Reset forgets everything so far.
func (r *Recorder) Reset() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.published, r.deliveries, r.commits = nil, nil, nil
	clear(r.counts)
}

// news returns a channel that is closed when something is added.
func (r *Recorder) news() <-chan struct{} {
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
