package gochannel

import (
	"bytes"
	"container/list"
	"context"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/trunkline/trunkline/bus/driver"
)

// name is the URL scheme, and the name of the transport in capabilities and errors.
const name = "chan"

// Transport is a [driver.Transport] within one process. All methods are safe for concurrent
// use. Pass it to bus.New, whose bus closes it.
type Transport struct {
	hub    *hub
	buffer int
	opened time.Time
	// release is called once, by Close. It releases a shared hub.
	release func()

	// publishing is twice the number of running Publish calls, plus one if Close has begun.
	publishing atomic.Int64
	// closing is closed when Close begins. idle is closed when Close has begun and no
	// Publish runs.
	closing  chan struct{}
	idle     chan struct{}
	idleOnce sync.Once

	mu       sync.Mutex
	closed   bool
	sessions map[*session]struct{}
}

var _ driver.Transport = (*Transport)(nil)

// New returns a transport with its own channels. It returns an InvalidArgument error if an
// option is invalid. The caller must close the transport, or pass it to bus.New, whose bus
// closes it.
func New(opts ...Option) (*Transport, error) {
	return newTransport(newHub(), func() {}, opts)
}

func newTransport(h *hub, release func(), opts []Option) (*Transport, error) {
	o := options{buffer: defaultBuffer}
	for _, opt := range opts {
		if err := opt(&o); err != nil {
			return nil, err
		}
	}
	return &Transport{
		hub:      h,
		buffer:   o.buffer,
		opened:   time.Now(),
		release:  release,
		closing:  make(chan struct{}),
		idle:     make(chan struct{}),
		sessions: make(map[*session]struct{}),
	}, nil
}

// Capabilities reports that messages are ordered and carry keys, and that headers keep their
// order.
func (t *Transport) Capabilities() driver.Capabilities {
	return driver.Capabilities{Name: name, Ordered: true, Keys: true, HeaderOrder: true}
}

// Publish delivers each message to the sessions of its topic, and completes every message
// before it returns. A message waits for space under its own Context. If a batch has
// several topics, they are published concurrently, so that a blocked topic does not delay
// the others.
func (t *Transport) Publish(batch []driver.Outgoing) {
	if t.publishing.Add(2)&1 != 0 {
		for i := range batch {
			batch[i].Complete(driver.Failed(closedError("publish", batch[i].Topic)))
		}
	} else {
		t.publish(batch)
	}
	if t.publishing.Add(-2) == 1 {
		t.markIdle()
	}
}

func (t *Transport) markIdle() { t.idleOnce.Do(func() { close(t.idle) }) }

func (t *Transport) publish(batch []driver.Outgoing) {
	if len(batch) == 0 {
		return
	}
	first, mixed := batch[0].Topic, false
	for i := range batch {
		mixed = mixed || batch[i].Topic != first
	}
	if !mixed {
		for i := range batch {
			batch[i].Complete(t.publishOne(&batch[i]))
		}
		return
	}
	byTopic := make(map[string][]*driver.Outgoing)
	for i := range batch {
		byTopic[batch[i].Topic] = append(byTopic[batch[i].Topic], &batch[i])
	}
	var topics sync.WaitGroup
	for _, messages := range byTopic {
		topics.Go(func() {
			for _, m := range messages {
				m.Complete(t.publishOne(m))
			}
		})
	}
	topics.Wait()
}

func (t *Transport) publishOne(o *driver.Outgoing) driver.Outcome {
	switch {
	case o.Topic == "":
		return driver.Failed(emptyTopicError("publish"))
	case o.Partition > 0:
		return driver.Failed(unsupported("publish", o.Topic, "a topic has only one partition: publish without naming a partition"))
	case o.Context.Err() != nil:
		return driver.Failed(contextError("publish", o.Topic, o.Context))
	}
	accepted := driver.Outcome{Partition: -1, Offset: -1}
	tp := t.hub.topic(o.Topic)
	if tp == nil {
		return accepted
	}
	e := newEntry(o)
	var waiting *list.Element
	for {
		var done bool
		if waiting, done = tp.offer(e, waiting); done {
			return accepted
		}
		select {
		case <-waiting.Value.(chan struct{}):
		case <-o.Context.Done():
			tp.stopWaiting(waiting)
			return driver.Failed(contextError("publish", o.Topic, o.Context))
		case <-t.closing:
			tp.stopWaiting(waiting)
			return driver.Failed(closedError("publish", o.Topic))
		}
	}
}

func newEntry(o *driver.Outgoing) *entry {
	e := &entry{record: driver.Record{
		Topic:     o.Topic,
		Key:       bytes.Clone(o.Key),
		Timestamp: o.Timestamp,
		UUID:      o.UUID,
		Headers:   slices.Clone(o.Headers),
		Payload:   bytes.Clone(o.Payload),
	}}
	if e.record.Timestamp.IsZero() {
		e.record.Timestamp = time.Now()
	}
	return e
}

// Subscribe joins the topic before it returns: the session receives every message that is
// published afterwards. It returns Unsupported for a group, for partitions, and for a start
// at an offset or a time.
func (t *Transport) Subscribe(ctx context.Context, s driver.Subscription) (driver.Session, error) {
	switch {
	case s.Topic == "":
		return nil, emptyTopicError("subscribe")
	case s.Group != "":
		return nil, unsupported("subscribe", s.Topic, "there are no groups: subscribe without a group, or use another transport")
	case len(s.Partitions) > 0:
		return nil, unsupported("subscribe", s.Topic, "a topic has only one partition: subscribe to the whole topic")
	case s.Start.Kind == driver.StartAtOffset || s.Start.Kind == driver.StartAtTime:
		return nil, unsupported("subscribe", s.Topic, "there is no log: start at the newest")
	case ctx.Err() != nil:
		return nil, contextError("subscribe", s.Topic, ctx)
	}
	session := newSession(t, s)
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed {
		return nil, closedError("subscribe", s.Topic)
	}
	t.sessions[session] = struct{}{}
	t.hub.join(session)
	return session, nil
}

func (t *Transport) remove(s *session) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.sessions, s)
}

// Ready returns nil at once, or Closed after Close.
func (t *Transport) Ready(ctx context.Context) error { return t.Ping(ctx) }

// Ping returns nil, or Closed after Close. There is no broker that could be unavailable.
func (t *Transport) Ping(context.Context) error {
	select {
	case <-t.closing:
		return closedError("ping", "")
	default:
		return nil
	}
}

// Observe calls observe once, with Connected. The state never changes.
func (t *Transport) Observe(observe func(driver.Connection)) {
	observe(driver.Connection{State: driver.Connected, Since: t.opened})
}

// Close completes waiting publishers with Closed, ends the sessions of this transport, and
// returns when no Publish runs. Transports that share the channels are not affected. If
// ctx ends first, Close returns its error. Close is idempotent.
func (t *Transport) Close(ctx context.Context) error {
	t.mu.Lock()
	first := !t.closed
	t.closed = true
	sessions := t.sessions
	t.sessions = nil
	t.mu.Unlock()
	if first {
		close(t.closing)
		if t.publishing.Or(1) == 0 {
			t.markIdle()
		}
		for s := range sessions {
			s.close("the transport is closed")
		}
		t.release()
	}
	select {
	case <-t.idle:
		return nil
	case <-ctx.Done():
	}
	select {
	case <-t.idle: // done takes precedence over the end of ctx
		return nil
	default:
		return contextError("close", "", ctx)
	}
}
