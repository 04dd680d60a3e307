package memory

import (
	"fmt"
	"slices"
	"sync"

	"github.com/trunkline/trunkline/bus/driver"
)

// Log is what a broker is to Kafka: the topics, their records, and the groups'
// positions. Many transports in one process may share it. It has no goroutines,
// nothing to close, and lives as long as somebody refers to it. All methods may be
// called from many goroutines at once.
type Log struct {
	settings

	// mu guards everything but the records: membership, assignments, connections,
	// admin. Nothing that a publish, fetch or commit does needs it. Lock order: mu,
	// then topicsMu or a partition's mu.
	mu         sync.Mutex
	transports []*Transport
	// away is why the broker is not there, nil when it is.
	away error

	// topicsMu guards topics, so that publishers find one without mu. Who writes
	// holds both.
	topicsMu sync.RWMutex
	topics   map[string]*topic
}

// NewLog returns an empty log. It fails with InvalidArgument when an option is out
// of its range, or is [WithLog].
func NewLog(opts ...Option) (*Log, error) {
	c, err := configure(opts)
	if err != nil {
		return nil, err
	}
	if c.logSet {
		return nil, invalid("open", "", "WithLog is for a transport: give it to New")
	}
	return newLog(c.settings), nil
}

func newLog(s settings) *Log { return &Log{settings: s, topics: map[string]*topic{}} }

func (l *Log) lookup(name string) *topic {
	l.topicsMu.RLock()
	t := l.topics[name]
	l.topicsMu.RUnlock()
	return t
}

// Disconnect takes the broker away from every transport, with cause, or a plain
// Unavailable when cause is nil; see [Transport.Disconnect] for what that does. The
// records and committed positions stay. Transports opened meanwhile start without
// a connection.
func (l *Log) Disconnect(cause error) {
	l.mu.Lock()
	if l.away == nil {
		l.away = orUnavailable(cause)
	}
	l.reconsider()
}

// Connect brings the broker back to every transport that is not disconnected on
// its own account.
func (l *Log) Connect() {
	l.mu.Lock()
	l.away = nil
	l.reconsider()
}

// reconsider brings every transport in line with where its broker is, unlocks mu,
// and tells the observers.
func (l *Log) reconsider() {
	transports := slices.Clone(l.transports)
	for _, t := range transports {
		t.reconsider()
	}
	l.mu.Unlock()
	for _, t := range transports {
		t.notify()
	}
}

func orUnavailable(cause error) error {
	if cause != nil {
		return cause
	}
	return failure(driver.CodeUnavailable, "connect", "", "the connection was cut", nil)
}

// Rebalance forces a rebalance of a group on a topic: every claim is revoked, and
// each partition passes to the next member, or to the only one again, once it was
// released. NotFound when there is no such topic or group.
func (l *Log) Rebalance(group, topic string) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	g, err := l.group("rebalance", group, topic)
	if err != nil {
		return err
	}
	g.rotate()
	return nil
}

// ExpireMembers does what a broker does whose members' heartbeats stopped: every
// member of the group on the topic is out at once, what it has not committed will
// be redelivered, its Commit fails with Revoked. The members then join again.
// NotFound when there is no such topic or group.
func (l *Log) ExpireMembers(group, topic string) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	g, err := l.group("expire", group, topic)
	if err != nil {
		return err
	}
	members := slices.Clone(g.members)
	cause := failure(driver.CodeRevoked, "consume", topic, fmt.Sprintf("the membership in group %q expired", group), nil)
	for _, s := range members {
		s.disconnect(cause)
	}
	for _, s := range members {
		s.connect()
	}
	return nil
}

// Committed returns the position a group has committed in a partition, and what
// was committed with it. ok is false when it has not committed any.
func (l *Log) Committed(group, topic string, partition int32) (next int64, metadata string, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	g, err := l.group("committed", group, topic)
	if err != nil || partition < 0 || int(partition) >= len(g.marks) {
		return 0, "", false
	}
	p, m := g.topic.all()[partition], g.marks[partition]
	p.mu.Lock()
	defer p.mu.Unlock()
	if !m.committed {
		return 0, "", false
	}
	return m.next, m.metadata, true
}

// Offsets returns the offset of the oldest record of a partition and the one the
// next record will get; they are equal when it is empty. NotFound when there is no
// such topic or partition.
func (l *Log) Offsets(topic string, partition int32) (oldest, end int64, err error) {
	t := l.lookup(topic)
	if t == nil {
		return 0, 0, noTopic("offsets", topic)
	}
	all := t.all()
	if partition < 0 || int(partition) >= len(all) {
		return 0, 0, failure(driver.CodeNotFound, "offsets", topic,
			fmt.Sprintf("there is no partition %d, the topic has %d", partition, len(all)), nil)
	}
	p := all[partition]
	p.mu.Lock()
	defer p.mu.Unlock()
	p.expire()
	return p.base, p.end, nil
}

func (l *Log) group(op, name, topic string) (*group, error) {
	t := l.lookup(topic)
	if t == nil {
		return nil, noTopic(op, topic)
	}
	g := t.groups[name]
	if g == nil {
		return nil, failure(driver.CodeNotFound, op, topic, fmt.Sprintf("there is no group %q; one begins when it subscribes", name), nil)
	}
	return g, nil
}

func noTopic(op, topic string) *driver.Error {
	return failure(driver.CodeNotFound, op, topic, "there is no such topic; create it first", nil)
}
