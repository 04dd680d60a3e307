package kafka

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/IBM/sarama"

	"github.com/trunkline/trunkline/bus/driver"
)

// CreateTopic implements [driver.Admin]. It returns when the metadata of every reachable
// broker contains a leader for each partition of the topic.
func (t *Transport) CreateTopic(ctx context.Context, spec driver.TopicSpec) error {
	switch {
	case !isLegalName(spec.Name):
		return failCode(driver.CodeInvalidArgument, "create topic", spec.Name,
			"the name of a topic must have 1 to 249 letters, digits, '.', '_' or '-', and must not be '.' or '..'", nil)
	case spec.Partitions < 0 || spec.ReplicationFactor < 0:
		return failCode(driver.CodeInvalidArgument, "create topic", spec.Name, "the numbers of partitions and replicas must not be negative; 0 is the broker's default", nil)
	}
	detail := &sarama.TopicDetail{NumPartitions: spec.Partitions, ReplicationFactor: spec.ReplicationFactor}
	if detail.NumPartitions == 0 {
		detail.NumPartitions = -1 // the broker's default
	}
	if detail.ReplicationFactor == 0 {
		detail.ReplicationFactor = -1
	}
	for k, v := range spec.Config {
		if detail.ConfigEntries == nil {
			detail.ConfigEntries = make(map[string]*string, len(spec.Config))
		}
		detail.ConfigEntries[k] = &v
	}
	return t.administer(ctx, "create topic", spec.Name, func(c *client) error {
		_ = c.RefreshMetadata(spec.Name) // to find the controller; it fails, because the topic is unknown
		admin, err := sarama.NewClusterAdminFromClient(c)
		if err != nil {
			return err
		}
		if err := admin.CreateTopic(spec.Name, detail, false); err != nil {
			return err
		}
		return awaitLeaders(ctx, c, spec.Name, 1)
	})
}

// isLegalName reports whether Kafka accepts the name for a topic.
func isLegalName(name string) bool {
	if name == "" || name == "." || name == ".." || len(name) > 249 {
		return false
	}
	return !strings.ContainsFunc(name, func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && r != '.' && r != '_' && r != '-'
	})
}

// awaitLeaders waits until the metadata of every reachable broker contains at least n
// partitions of the topic, and a leader for each partition.
func awaitLeaders(ctx context.Context, c *client, topic string, n int) error {
	for {
		err := c.RefreshMetadata(topic)
		if err == nil {
			for _, b := range c.Brokers() {
				_ = b.Open(c.Config())
				if !namesLeaders(b, c.Config().Version, topic, n) {
					err = sarama.ErrLeaderNotAvailable
				}
			}
		}
		if err == nil {
			return nil
		}
		if sleep(ctx, 50*time.Millisecond); ctx.Err() != nil {
			return ctx.Err()
		}
	}
}

// namesLeaders returns false only if the broker answers that the topic is incomplete. A
// broker that does not answer must not delay the caller.
func namesLeaders(b *sarama.Broker, v sarama.KafkaVersion, topic string, n int) bool {
	res, err := b.GetMetadata(sarama.NewMetadataRequest(v, []string{topic}))
	if err != nil {
		return true
	}
	for _, found := range res.Topics {
		if found.Name == topic && found.Err == sarama.ErrNoError && len(found.Partitions) >= n {
			return !slices.ContainsFunc(found.Partitions, func(p *sarama.PartitionMetadata) bool {
				return p.Err != sarama.ErrNoError && p.Err != sarama.ErrReplicaNotAvailable
			})
		}
	}
	return false
}

// DeleteTopic implements [driver.Admin]. It returns when the metadata of no reachable
// broker contains the topic.
func (t *Transport) DeleteTopic(ctx context.Context, topic string) error {
	if topic == "" {
		return failCode(driver.CodeInvalidArgument, "delete topic", "", "the topic must not be empty", nil)
	}
	return t.administer(ctx, "delete topic", topic, func(c *client) error {
		if err := c.RefreshMetadata(topic); err != nil {
			return err
		}
		admin, err := sarama.NewClusterAdminFromClient(c)
		if err != nil {
			return err
		}
		if err := admin.DeleteTopic(topic); err != nil {
			return err
		}
		return awaitDeleted(ctx, c, topic)
	})
}

// awaitDeleted waits until the metadata of no reachable broker contains the topic.
func awaitDeleted(ctx context.Context, c *client, topic string) error {
	for {
		err := c.RefreshMetadata(topic)
		named := func(b *sarama.Broker) bool {
			_ = b.Open(c.Config())
			return namesTopic(b, c.Config().Version, topic)
		}
		if codeOf(err) == driver.CodeNotFound && !slices.ContainsFunc(c.Brokers(), named) {
			return nil
		}
		if sleep(ctx, 50*time.Millisecond); ctx.Err() != nil {
			return ctx.Err()
		}
	}
}

// namesTopic returns true only if the broker answers that the topic exists.
func namesTopic(b *sarama.Broker, v sarama.KafkaVersion, topic string) bool {
	res, err := b.GetMetadata(sarama.NewMetadataRequest(v, []string{topic}))
	return err == nil && slices.ContainsFunc(res.Topics, func(m *sarama.TopicMetadata) bool {
		return m.Name == topic && codeOf(m.Err) != driver.CodeNotFound
	})
}

// AddPartitions implements [driver.PartitionAdder]. It returns when the metadata of every
// reachable broker contains a leader for each partition.
func (t *Transport) AddPartitions(ctx context.Context, topic string, total int32) error {
	switch {
	case topic == "":
		return failCode(driver.CodeInvalidArgument, "add partitions", "", "the topic must not be empty", nil)
	case total < 1:
		return failCode(driver.CodeInvalidArgument, "add partitions", topic, "the number of partitions must be at least 1", nil)
	}
	return t.administer(ctx, "add partitions", topic, func(c *client) error {
		if err := c.RefreshMetadata(topic); err != nil {
			return err
		}
		admin, err := sarama.NewClusterAdminFromClient(c)
		if err != nil {
			return err
		}
		existing, err := c.Partitions(topic)
		if err != nil {
			return err
		}
		if int(total) <= len(existing) {
			return failCode(driver.CodeInvalidArgument, "add partitions", topic, fmt.Sprintf("the topic already has %d partitions, got a total of %d", len(existing), total), nil)
		}
		if err := admin.CreatePartitions(topic, total, nil, false); err != nil {
			if e, ok := errors.AsType[*sarama.TopicPartitionError](err); ok {
				return e.Err
			}
			return err
		}
		return awaitLeaders(ctx, c, topic, int(total))
	})
}

// DescribeTopic implements [driver.Admin]. Config is nil if the credentials do not permit
// reading it.
func (t *Transport) DescribeTopic(ctx context.Context, topic string) (driver.TopicInfo, error) {
	if topic == "" {
		return driver.TopicInfo{}, failCode(driver.CodeInvalidArgument, "describe topic", "", "the topic must not be empty", nil)
	}
	found := make(chan driver.TopicInfo, 1)
	err := t.administer(ctx, "describe topic", topic, func(c *client) error {
		if err := c.RefreshMetadata(topic); err != nil {
			return err
		}
		b := c.LeastLoadedBroker()
		if b == nil {
			return sarama.ErrOutOfBrokers
		}
		res, err := b.GetMetadata(sarama.NewMetadataRequest(c.Config().Version, []string{topic}))
		if err != nil {
			_ = b.Close()
			return err
		}
		if len(res.Topics) != 1 {
			return sarama.ErrIncompleteResponse
		}
		if res.Topics[0].Err != sarama.ErrNoError {
			return res.Topics[0].Err
		}
		info := driver.TopicInfo{Name: topic, Layout: partitionInfos(res.Topics[0])}
		info.Partitions = int32(len(info.Layout))
		if info.Config, err = topicConfig(c, topic); err != nil {
			return err
		}
		found <- info
		return nil
	})
	if err != nil {
		return driver.TopicInfo{}, err
	}
	return <-found, nil
}

// partitionInfos returns the leaders and replicas of a topic's partitions.
func partitionInfos(topic *sarama.TopicMetadata) []driver.PartitionInfo {
	parts := make([]driver.PartitionInfo, 0, len(topic.Partitions))
	for _, p := range topic.Partitions {
		parts = append(parts, driver.PartitionInfo{
			ID: p.ID, Leader: p.Leader, Replicas: slices.Sorted(slices.Values(p.Replicas)), InSync: slices.Sorted(slices.Values(p.Isr)),
		})
	}
	slices.SortFunc(parts, func(a, b driver.PartitionInfo) int { return cmp.Compare(a.ID, b.ID) })
	return parts
}

// topicConfig returns the effective settings of a topic, or nil if the credentials do not
// permit reading them.
func topicConfig(c *client, topic string) (map[string]string, error) {
	admin, err := sarama.NewClusterAdminFromClient(c)
	if err != nil {
		return nil, err
	}
	results, err := admin.DescribeConfigs([]*sarama.ConfigResource{{Type: sarama.TopicResource, Name: topic}}, sarama.DescribeConfigsOptions{})
	if err == nil && len(results) != 1 {
		err = sarama.ErrIncompleteResponse
	}
	if err == nil && results[0].ErrorCode != sarama.ErrNoError {
		err = results[0].ErrorCode
	}
	if err != nil {
		if codeOf(err) == driver.CodePermissionDenied {
			return nil, nil
		}
		return nil, err
	}
	config := make(map[string]string, len(results[0].Configs))
	for _, e := range results[0].Configs {
		if !e.Sensitive {
			config[e.Name] = e.Value
		}
	}
	return config, nil
}

// ListTopics implements [driver.Admin].
func (t *Transport) ListTopics(ctx context.Context) ([]string, error) {
	found := make(chan []string, 1)
	err := t.administer(ctx, "list topics", "", func(c *client) error {
		b := c.LeastLoadedBroker()
		if b == nil {
			return sarama.ErrOutOfBrokers
		}
		res, err := b.GetMetadata(sarama.NewMetadataRequest(c.Config().Version, nil))
		if err != nil {
			_ = b.Close()
			return err
		}
		names := make([]string, 0, len(res.Topics))
		for _, topic := range res.Topics {
			if topic.Err == sarama.ErrNoError && !topic.IsInternal && !isInternal(topic.Name) {
				names = append(names, topic.Name)
			}
		}
		slices.Sort(names)
		found <- names
		return nil
	})
	if err != nil {
		return nil, err
	}
	return <-found, nil
}

// isInternal reports whether a topic is the brokers' own. Some brokers do not mark all of
// these as internal.
func isInternal(topic string) bool {
	return topic == "__consumer_offsets" || topic == "__transaction_state" || topic == "__share_group_state" ||
		topic == "__cluster_metadata"
}

// administer waits until a broker answers, and calls f with the metadata client.
func (t *Transport) administer(ctx context.Context, op, topic string, f func(*client) error) error {
	if t.ctx.Err() != nil {
		return closedError(op, topic)
	}
	if err := t.connection.ready(ctx, op, topic); err != nil {
		return err
	}
	c, err := t.meta.get()
	if err == nil {
		err = t.await(ctx, func() error { return f(c) })
	}
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return failCode(driver.ContextCode(ctx.Err()), op, topic, "the context ended before the answer", ctx.Err())
	case t.ctx.Err() != nil:
		return closedError(op, topic)
	default:
		return fail(op, topic, err)
	}
}
