package memory

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/trunkline/trunkline/bus/driver"
)

// The names of TopicSpec.Config that CreateTopic takes. Those that Kafka has too
// are named and mean the same.
const (
	// ConfigRetentionRecords is WithMaxRecords for one topic.
	ConfigRetentionRecords = "retention.records"
	// ConfigRetentionBytes is WithMaxBytes for one topic.
	ConfigRetentionBytes = "retention.bytes"
	// ConfigRetentionMS is WithMaxAge for one topic, in milliseconds; -1 is no limit.
	ConfigRetentionMS = "retention.ms"
	// ConfigCleanupPolicy says what goes besides what has no room: "delete" is what is
	// too old and the default, "compact" what a later record with the same key
	// supersedes, "compact,delete" both.
	ConfigCleanupPolicy = "cleanup.policy"
	// ConfigDeleteRetentionMS is how long a compacted topic keeps a tombstone, in
	// milliseconds. The default is [DefaultTombstoneRetention].
	ConfigDeleteRetentionMS = "delete.retention.ms"
)

// CreateTopic makes a topic. Its name must be one that Kafka takes: 1 to 249 of
// a-z, A-Z, 0-9, dot, underscore and hyphen, but not "." or "..". No partitions
// means the log's default, see [WithPartitions]. Config takes the names in this
// package's constants; others are InvalidArgument. A replication factor is not
// looked at. AlreadyExists when the topic is there, Unavailable while
// disconnected.
func (t *Transport) CreateTopic(ctx context.Context, spec driver.TopicSpec) error {
	if err := t.reach(ctx, "create topic", spec.Name); err != nil {
		return err
	}
	l := t.log
	if err := checkName(spec.Name); err != nil {
		return err
	}
	if spec.Partitions < 0 || spec.Partitions > maxPartitions {
		return invalid("create topic", spec.Name, fmt.Sprintf("it can't have %d partitions, only 1 to %d, or 0 for the default", spec.Partitions, maxPartitions))
	}
	limits, err := l.limits.with(spec)
	if err != nil {
		return err
	}
	partitions := spec.Partitions
	if partitions == 0 {
		partitions = l.partitions
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.topicsMu.Lock()
	defer l.topicsMu.Unlock()
	if l.topics[spec.Name] != nil {
		return failure(driver.CodeAlreadyExists, "create topic", spec.Name, "the topic is there already", nil)
	}
	l.topics[spec.Name] = newTopic(spec.Name, partitions, limits)
	return nil
}

// DeleteTopic removes a topic, its records, and the positions of its groups. Its
// sessions end with NotFound, and publishers that wait for room there are completed
// with it. NotFound when it isn't there, Unavailable while disconnected.
func (t *Transport) DeleteTopic(ctx context.Context, topic string) error {
	if err := t.reach(ctx, "delete topic", topic); err != nil {
		return err
	}
	l := t.log
	l.mu.Lock()
	defer l.mu.Unlock()
	found := l.lookup(topic)
	if found == nil {
		return noTopic("delete topic", topic)
	}
	l.topicsMu.Lock()
	delete(l.topics, topic)
	l.topicsMu.Unlock()
	found.close(failure(driver.CodeNotFound, "publish", topic, "the topic was deleted", nil))
	for _, s := range slices.Clone(found.sessions) {
		s.finish(failure(driver.CodeNotFound, "subscribe", topic, "the topic was deleted", nil))
	}
	return nil
}

// DescribeTopic returns how many partitions a topic has. NotFound when it isn't
// there, Unavailable while disconnected.
func (t *Transport) DescribeTopic(ctx context.Context, topic string) (driver.TopicInfo, error) {
	if err := t.reach(ctx, "describe topic", topic); err != nil {
		return driver.TopicInfo{}, err
	}
	found := t.log.lookup(topic)
	if found == nil {
		return driver.TopicInfo{}, noTopic("describe topic", topic)
	}
	return driver.TopicInfo{Name: topic, Partitions: int32(len(found.all()))}, nil
}

// ListTopics returns the names of all topics, sorted. Unavailable while
// disconnected.
func (t *Transport) ListTopics(ctx context.Context) ([]string, error) {
	if err := t.reach(ctx, "list topics", ""); err != nil {
		return nil, err
	}
	t.log.topicsMu.RLock()
	defer t.log.topicsMu.RUnlock()
	return slices.Sorted(maps.Keys(t.log.topics)), nil
}

// AddPartitions implements [driver.PartitionAdder]; see [Log.AddPartitions]. Unavailable
// while disconnected.
func (t *Transport) AddPartitions(ctx context.Context, topic string, total int32) error {
	if err := t.reach(ctx, "add partitions", topic); err != nil {
		return err
	}
	t.log.mu.Lock()
	defer t.log.mu.Unlock()
	return t.log.grow(topic, func(have int32) int32 { return total - have })
}

// AddPartitions gives a topic n more partitions. Subscriptions that are there see
// them from their first record on. As with Kafka, keys may from then on go to
// other partitions than before. NotFound when there is no such topic.
func (l *Log) AddPartitions(topic string, n int32) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.grow(topic, func(int32) int32 { return n })
}

// grow gives a topic as many more partitions as more says. l.mu is held.
func (l *Log) grow(topic string, more func(have int32) int32) error {
	t := l.lookup(topic)
	if t == nil {
		return noTopic("add partitions", topic)
	}
	n := more(int32(len(t.all())))
	if n < 1 || int(n)+len(t.all()) > maxPartitions {
		return invalid("add partitions", topic, fmt.Sprintf("%d more partitions are not possible: at least 1, and %d in all", n, maxPartitions))
	}
	added := t.morePartitions(n)
	all := slices.Concat(t.all(), added)
	// Readers are placed before publishers see the partitions, so they miss nothing.
	for _, s := range t.sessions {
		if s.group == nil && s.sub.Partitions == nil {
			s.extend(added)
		}
	}
	for _, g := range t.groups {
		g.grow(all)
	}
	t.addPartitions(added)
	for _, g := range t.groups {
		g.rebalance()
	}
	return nil
}

// reach says why an operation can't be tried.
func (t *Transport) reach(ctx context.Context, op, topic string) error {
	if err := ctx.Err(); err != nil {
		return contextError(op, topic, err)
	}
	return t.link.Load().err(op, topic)
}

func checkName(topic string) error {
	ok := topic != "" && len(topic) <= 249 && topic != "." && topic != ".."
	for i := 0; ok && i < len(topic); i++ {
		c := topic[i]
		ok = c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '.' || c == '_' || c == '-'
	}
	if !ok {
		return invalid("create topic", topic, "a name has 1 to 249 of a-z, A-Z, 0-9, dot, underscore and hyphen, as in Kafka")
	}
	return nil
}

// with returns the limits as a topic's configuration changes them.
func (l limits) with(spec driver.TopicSpec) (limits, error) {
	ageless := false
	for _, key := range slices.Sorted(maps.Keys(spec.Config)) {
		value := spec.Config[key]
		n, err := strconv.ParseInt(value, 10, 64)
		ok := err == nil && n >= 1
		const most = int64(1<<63-1) / int64(time.Millisecond)
		switch key {
		case ConfigRetentionRecords:
			l.maxRecords = int(n)
		case ConfigRetentionBytes:
			l.maxBytes = n
		case ConfigRetentionMS:
			l.maxAge = time.Duration(max(n, 0)) * time.Millisecond
			ok = ok && n <= most || err == nil && n == -1
		case ConfigDeleteRetentionMS:
			l.tombstones = time.Duration(max(n, 0)) * time.Millisecond
			ok = err == nil && n >= 0 && n <= most
		case ConfigCleanupPolicy:
			var policies []string
			for policy := range strings.SplitSeq(value, ",") {
				policies = append(policies, strings.TrimSpace(policy))
			}
			l.compact = slices.Contains(policies, "compact")
			ageless = !slices.Contains(policies, "delete")
			ok = !slices.ContainsFunc(policies, func(p string) bool { return p != "compact" && p != "delete" })
		default:
			return l, invalid("create topic", spec.Name, fmt.Sprintf("config %q is not known; known are %s, %s, %s, %s and %s",
				key, ConfigCleanupPolicy, ConfigDeleteRetentionMS, ConfigRetentionBytes, ConfigRetentionMS, ConfigRetentionRecords))
		}
		if !ok {
			return l, invalid("create topic", spec.Name, fmt.Sprintf("config %q can't be %q", key, value))
		}
	}
	if ageless { // as with Kafka, whatever retention.ms says
		l.maxAge = 0
	}
	return l, nil
}
