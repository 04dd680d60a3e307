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

const name = "chan"

// Transport is a driver.Transport on buffers inside this process. All methods may
// be called from many goroutines at once. Make one with New; give it to bus.New,
// which closes it.
type Transport struct {
	hub    *hub
	buffer int
	opened time.Time
	// release lets go of a shared hub; called once, when closed.
	release func()

	// publishing counts the Publish calls that run, times two, plus one once Close
	// has begun.
	publishing atomic.Int64
	// closing is closed when Close begins, idle when no Publish runs any more.
	closing  chan struct{}
	idle     chan struct{}
	idleOnce sync.Once

	mu       sync.Mutex
	closed   bool
	sessions map[*session]struct{}
}

var _ driver.Transport = (*Transport)(nil)

// New returns a transport with channels of its own. Its error is an InvalidArgument
// from an option.
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

// Capabilities says that it is ordered and carries keys, and nothing else.
func (t *Transport) Capabilities() driver.Capabilities {
	return driver.Capabilities{Name: name, Ordered: true, Keys: true, HeaderOrder: true}
}

// Publish gives each message to the sessions of its topic, and waits for room under
// the message's context. A batch with several topics is published to all of them at
// the same time, so that one which is stalled does not hold up the others.
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
		return driver.Failed(emptyTopic("publish"))
	case o.Partition > 0:
		return driver.Failed(unsupported("publish", o.Topic, "a topic has one partition only: publish without naming one"))
	case o.Context.Err() != nil:
		return driver.Failed(waitError("publish", o.Topic, o.Context))
	}
	accepted := driver.Outcome{Partition: -1, Offset: -1}
	tp := t.hub.topic(o.Topic)
	if tp == nil {
		return accepted
	}
	e := newEntry(o)
	var turn *list.Element
	for {
		var done bool
		if turn, done = tp.offer(e, turn); done {
			return accepted
		}
		select {
		case <-turn.Value.(chan struct{}):
		case <-o.Context.Done():
			tp.giveUp(turn)
			return driver.Failed(waitError("publish", o.Topic, o.Context))
		case <-t.closing:
			tp.giveUp(turn)
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

// Subscribe joins the topic before it returns: what is published after that is
// seen. A group, partitions, or a start that needs a log are Unsupported.
func (t *Transport) Subscribe(ctx context.Context, s driver.Subscription) (driver.Session, error) {
	switch {
	case s.Topic == "":
		return nil, emptyTopic("subscribe")
	case s.Group != "":
		return nil, unsupported("subscribe", s.Topic, "there are no groups: subscribe without one, or use another transport")
	case len(s.Partitions) > 0:
		return nil, unsupported("subscribe", s.Topic, "there are no partitions to choose from: subscribe to the whole topic")
	case s.Start.Kind == driver.StartAtOffset || s.Start.Kind == driver.StartAtTime:
		return nil, unsupported("subscribe", s.Topic, "there is no log: start at the newest")
	case ctx.Err() != nil:
		return nil, waitError("subscribe", s.Topic, ctx)
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

func (t *Transport) forget(s *session) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.sessions, s)
}

// Ready returns nil, or Closed after Close.
func (t *Transport) Ready(ctx context.Context) error { return t.Ping(ctx) }

// Ping returns nil, or Closed after Close: there is no broker to lose.
func (t *Transport) Ping(context.Context) error {
	select {
	case <-t.closing:
		return closedError("ping", "")
	default:
		return nil
	}
}

// Observe calls observe once, with Connected: that never changes.
func (t *Transport) Observe(observe func(driver.Connection)) {
	observe(driver.Connection{State: driver.Connected, Since: t.opened})
}

// Close completes publishers that wait for room with Closed, ends the sessions made
// through this transport, and returns when no Publish runs any more. Those of
// others that share its channels by name go on.
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
			s.close("the transport was closed")
		}
		t.release()
	}
	select {
	case <-t.idle:
		return nil
	case <-ctx.Done():
	}
	select {
	case <-t.idle: // it was all done, however late ctx came
		return nil
	default:
		return waitError("close", "", ctx)
	}
}
