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

// The keys of TopicSpec.Config that CreateTopic accepts. Those that Kafka also has mean the
// same as in Kafka.
const (
	// ConfigRetentionRecords is the maximum number of records of a partition. The default
	// is that of [WithMaxRecords].
	ConfigRetentionRecords = "retention.records"
	// ConfigRetentionBytes is the maximum number of bytes of a partition. The default is
	// that of [WithMaxBytes].
	ConfigRetentionBytes = "retention.bytes"
	// ConfigRetentionMS is the maximum age of a record in milliseconds, or -1 for no
	// limit. The default is that of [WithMaxAge].
	ConfigRetentionMS = "retention.ms"
	// ConfigCleanupPolicy is "delete" (the default: drop records by age), "compact" (keep
	// the latest record of each key, without an age limit) or "compact,delete" (both).
	ConfigCleanupPolicy = "cleanup.policy"
	// ConfigDeleteRetentionMS is how long a compacted topic keeps a tombstone, in
	// milliseconds. The default is 24 hours.
	ConfigDeleteRetentionMS = "delete.retention.ms"
)

// CreateTopic creates a topic. Its name must be valid in Kafka: 1 to 249 of the characters
// a-z, A-Z, 0-9, dot, underscore and hyphen, and not "." or "..". If spec.Partitions is
// 0, the topic gets the default of the log, see [WithPartitions]. The keys of spec.Config
// must be among the constants of this package. The replication factor is ignored.
// CreateTopic returns InvalidArgument for an invalid spec, AlreadyExists if the topic
// exists, and Unavailable while the transport is disconnected.
func (t *Transport) CreateTopic(ctx context.Context, spec driver.TopicSpec) error {
	if err := t.reachable(ctx, "create topic", spec.Name); err != nil {
		return err
	}
	l := t.log
	if err := checkName(spec.Name); err != nil {
		return err
	}
	if spec.Partitions < 0 || spec.Partitions > maxPartitions {
		return invalidArgument("create topic", spec.Name, fmt.Sprintf("partitions must be from 1 to %d, or 0 for the default, got %d", maxPartitions, spec.Partitions))
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
		return newError(driver.CodeAlreadyExists, "create topic", spec.Name, "the topic already exists", nil)
	}
	l.topics[spec.Name] = newTopic(spec.Name, partitions, limits)
	return nil
}

// DeleteTopic deletes a topic with its records and the committed offsets of its groups. Its
// sessions end with NotFound, and publishers that wait for space complete with NotFound.
// DeleteTopic returns NotFound if the topic does not exist, and Unavailable while the
// transport is disconnected.
func (t *Transport) DeleteTopic(ctx context.Context, topic string) error {
	if err := t.reachable(ctx, "delete topic", topic); err != nil {
		return err
	}
	l := t.log
	l.mu.Lock()
	defer l.mu.Unlock()
	found := l.lookup(topic)
	if found == nil {
		return topicNotFound("delete topic", topic)
	}
	l.topicsMu.Lock()
	delete(l.topics, topic)
	l.topicsMu.Unlock()
	found.delete(newError(driver.CodeNotFound, "publish", topic, "the topic was deleted", nil))
	for _, s := range slices.Clone(found.sessions) {
		s.end(newError(driver.CodeNotFound, "subscribe", topic, "the topic was deleted", nil))
	}
	return nil
}

// DescribeTopic returns the number of partitions of a topic. It returns NotFound if the topic
// does not exist, and Unavailable while the transport is disconnected.
func (t *Transport) DescribeTopic(ctx context.Context, topic string) (driver.TopicInfo, error) {
	if err := t.reachable(ctx, "describe topic", topic); err != nil {
		return driver.TopicInfo{}, err
	}
	found := t.log.lookup(topic)
	if found == nil {
		return driver.TopicInfo{}, topicNotFound("describe topic", topic)
	}
	return driver.TopicInfo{Name: topic, Partitions: int32(len(found.all()))}, nil
}

// ListTopics returns the names of all topics, sorted. It returns Unavailable while the
// transport is disconnected.
func (t *Transport) ListTopics(ctx context.Context) ([]string, error) {
	if err := t.reachable(ctx, "list topics", ""); err != nil {
		return nil, err
	}
	t.log.topicsMu.RLock()
	defer t.log.topicsMu.RUnlock()
	return slices.Sorted(maps.Keys(t.log.topics)), nil
}

// AddPartitions implements [driver.PartitionAdder]: it sets the total number of partitions.
// [Log.AddPartitions] describes the effect. It returns Unavailable while the transport is
// disconnected.
func (t *Transport) AddPartitions(ctx context.Context, topic string, total int32) error {
	if err := t.reachable(ctx, "add partitions", topic); err != nil {
		return err
	}
	t.log.mu.Lock()
	defer t.log.mu.Unlock()
	return t.log.addPartitions(topic, func(have int32) int32 { return total - have })
}

// AddPartitions adds n partitions to a topic. Open subscriptions read them from their first
// record on. As in Kafka, a key can map to another partition than before. AddPartitions
// returns NotFound if the topic does not exist, and InvalidArgument if n is less than 1
// or the topic would have more than 100,000 partitions.
func (l *Log) AddPartitions(topic string, n int32) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.addPartitions(topic, func(int32) int32 { return n })
}

// addPartitions adds the number of partitions that more returns. The caller holds l.mu.
func (l *Log) addPartitions(topic string, more func(have int32) int32) error {
	t := l.lookup(topic)
	if t == nil {
		return topicNotFound("add partitions", topic)
	}
	n := more(int32(len(t.all())))
	if n < 1 || int(n)+len(t.all()) > maxPartitions {
		return invalidArgument("add partitions", topic, fmt.Sprintf("cannot add %d partitions to %d: add at least 1, up to a total of %d", n, len(t.all()), maxPartitions))
	}
	added := t.newPartitions(n)
	all := slices.Concat(t.all(), added)
	// Subscribers claim the partitions before publishers see them, so they miss no record.
	for _, s := range t.sessions {
		if s.group == nil && s.sub.Partitions == nil {
			s.claimAdded(added)
		}
	}
	for _, g := range t.groups {
		g.addPartitions(all)
	}
	t.publishPartitions(added)
	for _, g := range t.groups {
		g.rebalance()
	}
	return nil
}

func checkName(topic string) error {
	ok := topic != "" && len(topic) <= 249 && topic != "." && topic != ".."
	for i := 0; ok && i < len(topic); i++ {
		c := topic[i]
		ok = c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '.' || c == '_' || c == '-'
	}
	if !ok {
		return invalidArgument("create topic", topic, "the name is invalid: use 1 to 249 of a-z, A-Z, 0-9, dot, underscore and hyphen, as in Kafka")
	}
	return nil
}

// with returns the limits with the changes of a topic's configuration.
func (l limits) with(spec driver.TopicSpec) (limits, error) {
	ignoreAge := false
	for _, key := range slices.Sorted(maps.Keys(spec.Config)) {
		value := spec.Config[key]
		n, err := strconv.ParseInt(value, 10, 64)
		ok := err == nil && n >= 1
		const maxMS = int64(1<<63-1) / int64(time.Millisecond)
		switch key {
		case ConfigRetentionRecords:
			l.maxRecords = int(n)
		case ConfigRetentionBytes:
			l.maxBytes = n
		case ConfigRetentionMS:
			l.maxAge = time.Duration(max(n, 0)) * time.Millisecond
			ok = ok && n <= maxMS || err == nil && n == -1
		case ConfigDeleteRetentionMS:
			l.tombstones = time.Duration(max(n, 0)) * time.Millisecond
			ok = err == nil && n >= 0 && n <= maxMS
		case ConfigCleanupPolicy:
			var policies []string
			for policy := range strings.SplitSeq(value, ",") {
				policies = append(policies, strings.TrimSpace(policy))
			}
			l.compact = slices.Contains(policies, "compact")
			ignoreAge = !slices.Contains(policies, "delete")
			ok = !slices.ContainsFunc(policies, func(p string) bool { return p != "compact" && p != "delete" })
		default:
			return l, invalidArgument("create topic", spec.Name, fmt.Sprintf("unknown config key %q: use %s, %s, %s, %s or %s",
				key, ConfigCleanupPolicy, ConfigDeleteRetentionMS, ConfigRetentionBytes, ConfigRetentionMS, ConfigRetentionRecords))
		}
		if !ok {
			return l, invalidArgument("create topic", spec.Name, fmt.Sprintf("config %s has the invalid value %q", key, value))
		}
	}
	if ignoreAge { // as in Kafka, even if retention.ms is set
		l.maxAge = 0
	}
	return l, nil
}
