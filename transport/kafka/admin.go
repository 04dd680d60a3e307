package kafka

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/IBM/sarama"

	"github.com/trunkline/trunkline/bus/driver"
)

// CreateTopic implements [driver.Admin]. It returns when every broker that answers
// knows the topic and every partition of it has a leader.
func (t *Transport) CreateTopic(ctx context.Context, spec driver.TopicSpec) error {
	switch {
	case !legal(spec.Name):
		return failCode(driver.InvalidArgument, "create topic", spec.Name,
			"a topic's name has 1 to 249 letters, digits, '.', '_' and '-', and is neither '.' nor '..'", nil)
	case spec.Partitions < 0 || spec.ReplicationFactor < 0:
		return failCode(driver.InvalidArgument, "create topic", spec.Name, "a count is negative", nil)
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
		_ = c.RefreshMetadata(spec.Name) // for the controller; that the topic is unknown is no surprise
		admin, err := sarama.NewClusterAdminFromClient(c)
		if err != nil {
			return err
		}
		if err := admin.CreateTopic(spec.Name, detail, false); err != nil {
			return err
		}
		return visible(ctx, c, spec.Name)
	})
}

func legal(topic string) bool {
	if topic == "" || topic == "." || topic == ".." || len(topic) > 249 {
		return false
	}
	return !strings.ContainsFunc(topic, func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && r != '.' && r != '_' && r != '-'
	})
}

// visible waits until every broker names a leader for every partition of the topic.
func visible(ctx context.Context, c *client, topic string) error {
	for {
		err := c.RefreshMetadata(topic)
		if err == nil {
			for _, b := range c.Brokers() {
				_ = b.Open(c.Config())
				if !led(b, c.Config().Version, topic) {
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

// led is false only when the broker answered that the topic is not complete there: one
// that does not answer holds nobody up.
func led(b *sarama.Broker, v sarama.KafkaVersion, topic string) bool {
	res, err := b.GetMetadata(sarama.NewMetadataRequest(v, []string{topic}))
	if err != nil {
		return true
	}
	for _, found := range res.Topics {
		if found.Name == topic && found.Err == sarama.ErrNoError && len(found.Partitions) > 0 {
			return !slices.ContainsFunc(found.Partitions, func(p *sarama.PartitionMetadata) bool {
				return p.Err != sarama.ErrNoError && p.Err != sarama.ErrReplicaNotAvailable
			})
		}
	}
	return false
}

// DeleteTopic implements [driver.Admin]. It returns when the topic is no longer named.
func (t *Transport) DeleteTopic(ctx context.Context, topic string) error {
	if topic == "" {
		return failCode(driver.InvalidArgument, "delete topic", "", "the topic is empty", nil)
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
		for {
			if err := c.RefreshMetadata(topic); codeOf(err) == driver.NotFound {
				return nil
			}
			if sleep(ctx, 50*time.Millisecond); ctx.Err() != nil {
				return ctx.Err()
			}
		}
	})
}

// DescribeTopic implements [driver.Admin].
func (t *Transport) DescribeTopic(ctx context.Context, topic string) (driver.TopicInfo, error) {
	if topic == "" {
		return driver.TopicInfo{}, failCode(driver.InvalidArgument, "describe topic", "", "the topic is empty", nil)
	}
	info := driver.TopicInfo{Name: topic}
	found := make(chan int32, 1)
	err := t.administer(ctx, "describe topic", topic, func(c *client) error {
		if err := c.RefreshMetadata(topic); err != nil {
			return err
		}
		partitions, err := c.Partitions(topic)
		found <- int32(len(partitions))
		return err
	})
	if err != nil {
		return driver.TopicInfo{}, err
	}
	info.Partitions = <-found
	return info, nil
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
			if topic.Err == sarama.ErrNoError && !topic.IsInternal && !internal(topic.Name) {
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

// internal names are the brokers' own, also where they are not marked as such.
func internal(topic string) bool {
	return topic == "__consumer_offsets" || topic == "__transaction_state" || topic == "__share_group_state" ||
		topic == "__cluster_metadata"
}

// administer runs f with the metadata client, once a broker answers.
func (t *Transport) administer(ctx context.Context, op, topic string, f func(*client) error) error {
	if t.ctx.Err() != nil {
		return closedError(op, topic)
	}
	if err := t.monitor.ready(ctx, op, topic); err != nil {
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
		return failCode(driver.ContextCode(ctx.Err()), op, topic, "no answer came in time", ctx.Err())
	case t.ctx.Err() != nil:
		return closedError(op, topic)
	default:
		return fail(op, topic, err)
	}
}
