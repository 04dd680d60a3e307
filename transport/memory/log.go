package memory

import (
	"fmt"
	"slices"
	"sync"

	"github.com/trunkline/trunkline/bus/driver"
)

// Log holds topics, their records, and the committed offsets of groups. It has the role
// that a broker has in Kafka. Many transports in one process can share it. It starts no
// goroutines and needs no Close. All methods are safe for concurrent use.
type Log struct {
	settings

	// mu guards membership, assignments, connections and administration. Publish, Fetch
	// and Commit do not take it. Lock order: mu, then topicsMu or the mu of a partition.
	mu         sync.Mutex
	transports []*Transport
	// disconnected is why no transport can reach the log, nil if they can.
	disconnected error

	// topicsMu guards topics. It is separate so that publishers find a topic without mu.
	// Writers hold both.
	topicsMu sync.RWMutex
	topics   map[string]*topic
}

// NewLog returns an empty log. It returns an InvalidArgument error if an option is out of
// range, or is [WithLog].
func NewLog(opts ...Option) (*Log, error) {
	c, err := configure(opts)
	if err != nil {
		return nil, err
	}
	if c.logSet {
		return nil, invalidArgument("open", "", "WithLog configures a transport: pass it to New, not to NewLog")
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

// Disconnect disconnects all transports from the log, with this cause. If cause is nil,
// it is an Unavailable error. [Transport.Disconnect] describes the effect. Records and
// committed offsets are kept. Transports that are made during the outage start
// disconnected.
func (l *Log) Disconnect(cause error) {
	l.mu.Lock()
	if l.disconnected == nil {
		l.disconnected = disconnectCause(cause)
	}
	l.updateConnections()
}

// Connect ends an outage that Disconnect began. Transports that were disconnected with
// [Transport.Disconnect] stay disconnected.
func (l *Log) Connect() {
	l.mu.Lock()
	l.disconnected = nil
	l.updateConnections()
}

// updateConnections applies the state of the log to all transports, releases l.mu, and
// then calls the observers.
func (l *Log) updateConnections() {
	transports := slices.Clone(l.transports)
	for _, t := range transports {
		t.updateConnection()
	}
	l.mu.Unlock()
	for _, t := range transports {
		t.notifyObserver()
	}
}

func disconnectCause(cause error) error {
	if cause != nil {
		return cause
	}
	return newError(driver.CodeUnavailable, "connect", "", "disconnected by a call of Disconnect", nil)
}

// Rebalance forces a rebalance of the group on the topic. It revokes every claim. Once a
// partition is released, it goes to the next member, or back to its owner if there is
// only one. Rebalance returns NotFound if the topic or the group does not exist.
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

// ExpireMembers simulates missed heartbeats: it removes every member of the group on the
// topic at once. Messages that they have not committed are redelivered, and their
// Commit returns Revoked. Then the members join again. ExpireMembers returns NotFound if
// the topic or the group does not exist.
func (l *Log) ExpireMembers(group, topic string) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	g, err := l.group("expire members", group, topic)
	if err != nil {
		return err
	}
	members := slices.Clone(g.members)
	cause := newError(driver.CodeRevoked, "consume", topic, fmt.Sprintf("the membership in group %q expired", group), nil)
	for _, s := range members {
		s.disconnect(cause)
	}
	for _, s := range members {
		s.connect()
	}
	return nil
}

// Committed returns the committed offset of a group in a partition, and the metadata
// that was committed with it. ok is false if the group has committed none.
func (l *Log) Committed(group, topic string, partition int32) (next int64, metadata string, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	g, err := l.group("committed", group, topic)
	if err != nil || partition < 0 || int(partition) >= len(g.progress) {
		return 0, "", false
	}
	p, pr := g.topic.all()[partition], g.progress[partition]
	p.mu.Lock()
	defer p.mu.Unlock()
	if !pr.committed {
		return 0, "", false
	}
	return pr.next, pr.metadata, true
}

// Offsets returns the offset of the oldest record of a partition, and the offset that
// the next record will get. They are equal if the partition is empty. Offsets returns
// NotFound if the topic or the partition does not exist.
func (l *Log) Offsets(topic string, partition int32) (oldest, end int64, err error) {
	t := l.lookup(topic)
	if t == nil {
		return 0, 0, topicNotFound("offsets", topic)
	}
	all := t.all()
	if partition < 0 || int(partition) >= len(all) {
		return 0, 0, partitionNotFound("offsets", topic, partition, len(all))
	}
	p := all[partition]
	p.mu.Lock()
	defer p.mu.Unlock()
	p.dropExpired()
	return p.base, p.end, nil
}

func (l *Log) group(op, name, topic string) (*group, error) {
	t := l.lookup(topic)
	if t == nil {
		return nil, topicNotFound(op, topic)
	}
	g := t.groups[name]
	if g == nil {
		return nil, newError(driver.CodeNotFound, op, topic, fmt.Sprintf("group %q does not exist: a group is created when its first member subscribes", name), nil)
	}
	return g, nil
}
