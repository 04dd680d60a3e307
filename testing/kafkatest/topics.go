package kafkatest

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/IBM/sarama"
)

// adminLimit limits requests whose context has no deadline.
const adminLimit = 30 * time.Second

// CreateTopic creates a topic with this number of partitions and the cluster's default
// replication factor. It returns when clients can write to the topic. If the topic
// exists, the error wraps [sarama.ErrTopicAlreadyExists].
func (b *Broker) CreateTopic(ctx context.Context, name string, partitions int) error {
	if partitions < 1 {
		return fmt.Errorf("kafkatest: create topic %q: must have at least 1 partition, got %d", name, partitions)
	}
	err := b.admin(ctx, func(a sarama.ClusterAdmin) error {
		return a.CreateTopic(name, &sarama.TopicDetail{NumPartitions: int32(partitions), ReplicationFactor: -1}, false)
	})
	if err == nil {
		err = b.awaitTopic(ctx, name, partitions)
	}
	if err != nil {
		return fmt.Errorf("kafkatest: create topic %q: %w", name, err)
	}
	return nil
}

// DeleteTopic deletes a topic and its records. A real cluster deletes in the
// background, so its metadata may still contain the topic for a moment.
func (b *Broker) DeleteTopic(ctx context.Context, name string) error {
	err := b.admin(ctx, func(a sarama.ClusterAdmin) error { return a.DeleteTopic(name) })
	if err != nil {
		return fmt.Errorf("kafkatest: delete topic %q: %w", name, err)
	}
	return nil
}

// AddPartitions raises a topic's number of partitions to total. It returns when
// clients can write to the new partitions.
func (b *Broker) AddPartitions(ctx context.Context, name string, total int) error {
	err := b.admin(ctx, func(a sarama.ClusterAdmin) error {
		return a.CreatePartitions(name, int32(total), nil, false)
	})
	if err == nil {
		err = b.awaitTopic(ctx, name, total)
	}
	if err != nil {
		return fmt.Errorf("kafkatest: add partitions to topic %q: %w", name, err)
	}
	return nil
}

func (b *Broker) checkBrokers(ctx context.Context, want int) error {
	return b.admin(ctx, func(a sarama.ClusterAdmin) error {
		brokers, _, err := a.DescribeCluster()
		if err == nil && len(brokers) < want {
			err = fmt.Errorf("%w: it has %d brokers, need %d", ErrUnsuitable, len(brokers), want)
		}
		return err
	})
}

// awaitTopic waits until every broker names a leader for each partition. The controller
// confirms a new topic before it is in the metadata of every broker.
func (b *Broker) awaitTopic(ctx context.Context, name string, partitions int) error {
	const pause = 20 * time.Millisecond
	ctx, cancel := context.WithTimeout(ctx, adminLimit)
	defer cancel()
	for _, addr := range b.addrs {
		for {
			err := b.topicReady(addr, name, partitions)
			if err == nil {
				break
			}
			select {
			case <-ctx.Done():
				return errors.Join(context.Cause(ctx), err)
			case <-time.After(pause):
			}
		}
	}
	return nil
}

func (b *Broker) topicReady(addr, name string, partitions int) error {
	conf := adminConfig(0)
	conn := sarama.NewBroker(addr)
	if err := conn.Open(conf); err != nil {
		return err
	}
	defer conn.Close()
	meta, err := conn.GetMetadata(sarama.NewMetadataRequest(conf.Version, []string{name}))
	if err != nil {
		return err
	}
	leaders := 0
	for _, t := range meta.Topics {
		for _, p := range t.Partitions {
			if p.Err == sarama.ErrNoError && p.Leader >= 0 {
				leaders++
			}
		}
	}
	if leaders < partitions {
		return fmt.Errorf("broker %s names leaders for %d of %d partitions", addr, leaders, partitions)
	}
	return nil
}

// admin calls f with a new admin client, and then closes the client. sarama takes no
// context, so the time left until the deadline of ctx becomes sarama's time-outs.
func (b *Broker) admin(ctx context.Context, f func(sarama.ClusterAdmin) error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	left := adminLimit
	if deadline, ok := ctx.Deadline(); ok {
		left = min(left, max(time.Until(deadline), time.Millisecond))
	}
	a, err := sarama.NewClusterAdmin(b.addrs, adminConfig(left))
	if err != nil {
		return err
	}
	defer a.Close()
	return f(a)
}

func adminConfig(limit time.Duration) *sarama.Config {
	if limit == 0 {
		limit = 5 * time.Second
	}
	conf := sarama.NewConfig()
	conf.ClientID = "kafkatest"
	conf.Version = sarama.V2_8_0_0
	conf.Metadata.AllowAutoTopicCreation = false
	conf.Metadata.Retry.Max = 1
	conf.Net.DialTimeout = limit
	conf.Net.ReadTimeout = limit
	conf.Net.WriteTimeout = limit
	conf.Admin.Timeout = min(limit, 10*time.Second)
	return conf
}
