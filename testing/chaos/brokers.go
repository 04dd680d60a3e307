package chaos

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/IBM/sarama"
)

// Brokers queries the brokers directly, with a client that is independent of the tested code. The
// elements are host:port. Its methods are safe for concurrent use.
type Brokers []string

func clientConfig() *sarama.Config {
	conf := sarama.NewConfig()
	conf.ClientID = "trunkline-chaos"
	conf.Version = sarama.V2_8_0_0
	conf.Metadata.AllowAutoTopicCreation = false
	conf.Net.DialTimeout = 2 * time.Second
	conf.Net.ReadTimeout = 5 * time.Second
	conf.Net.WriteTimeout = 5 * time.Second
	return conf
}

// retry calls f until it returns nil or ctx ends. At the end of ctx it returns the last error of f.
func retry(ctx context.Context, f func() error) error {
	const pause = 100 * time.Millisecond
	for {
		err := f()
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return errors.Join(err, context.Cause(ctx))
		case <-time.After(pause):
		}
	}
}

// WaitInSync waits until every broker answers and reports that each partition of each topic, internal
// topics included, has a leader and that all its replicas are in sync. If ctx ends before that, the error
// says what is missing.
func (b Brokers) WaitInSync(ctx context.Context) error {
	err := retry(ctx, func() error {
		for _, addr := range b {
			if err := b.checkInSync(addr); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("chaos: wait until every partition is in sync: %w", err)
	}
	return nil
}

func (b Brokers) checkInSync(addr string) error {
	topics, brokers, err := metadata(addr, nil)
	if err != nil {
		return err
	}
	if brokers != len(b) {
		return fmt.Errorf("broker %s reports %d brokers, want %d", addr, brokers, len(b))
	}
	for _, t := range topics {
		for _, p := range t.Partitions {
			switch {
			case p.Leader < 0:
				return fmt.Errorf("broker %s: %s/%d has no leader", addr, t.Name, p.ID)
			case len(p.Isr) < len(p.Replicas):
				return fmt.Errorf("broker %s: %s/%d has %d of %d replicas in sync", addr, t.Name, p.ID, len(p.Isr), len(p.Replicas))
			}
		}
	}
	return nil
}

// metadata requests the metadata of topics from one broker; nil means all topics. It also returns the
// number of brokers.
func metadata(addr string, topics []string) ([]*sarama.TopicMetadata, int, error) {
	conf := clientConfig()
	conn := sarama.NewBroker(addr)
	if err := conn.Open(conf); err != nil {
		return nil, 0, fmt.Errorf("connect to %s: %w", addr, err)
	}
	defer conn.Close()
	request := sarama.NewMetadataRequest(conf.Version, topics)
	request.AllowAutoTopicCreation = false
	response, err := conn.GetMetadata(request)
	if err != nil {
		return nil, 0, fmt.Errorf("request metadata from %s: %w", addr, err)
	}
	return response.Topics, len(response.Brokers), nil
}

// Leaders returns the leader of each partition of the topic, by partition; -1 means no leader.
func (b Brokers) Leaders(ctx context.Context, topic string) ([]int32, error) {
	leaders, _, err := b.leaders(ctx, topic)
	return leaders, err
}

func (b Brokers) leaders(ctx context.Context, topic string) (now, preferred []int32, err error) {
	err = retry(ctx, func() error {
		var errs []error
		for _, addr := range b {
			topics, _, err := metadata(addr, []string{topic})
			if err == nil && topics[0].Err != sarama.ErrNoError {
				err = topics[0].Err
			}
			if err != nil {
				errs = append(errs, err)
				continue
			}
			now, preferred = make([]int32, len(topics[0].Partitions)), make([]int32, len(topics[0].Partitions))
			for _, p := range topics[0].Partitions {
				now[p.ID], preferred[p.ID] = p.Leader, p.Replicas[0]
			}
			return nil
		}
		return errors.Join(errs...)
	})
	if err != nil {
		return nil, nil, fmt.Errorf("chaos: request the leaders of %q: %w", topic, err)
	}
	return now, preferred, nil
}

// ElectPreferredLeaders elects the preferred leader of each partition of the topic, and waits until they
// lead. Without it, a broker that was restarted leads no partition, and killing it again has no effect on
// the topic.
func (b Brokers) ElectPreferredLeaders(ctx context.Context, topic string) error {
	err := retry(ctx, func() error {
		now, preferred, err := b.leaders(ctx, topic)
		if err != nil || slices.Equal(now, preferred) {
			return err
		}
		admin, err := sarama.NewClusterAdmin(b, clientConfig())
		if err != nil {
			return err
		}
		defer admin.Close()
		partitions := make([]int32, len(now))
		for i := range partitions {
			partitions[i] = int32(i)
		}
		if _, err := admin.ElectLeaders(sarama.PreferredElection, map[string][]int32{topic: partitions}); err != nil {
			return err
		}
		if now, preferred, err = b.leaders(ctx, topic); err == nil && !slices.Equal(now, preferred) {
			err = fmt.Errorf("the leaders are %v, want %v", now, preferred)
		}
		return err
	})
	if err != nil {
		return fmt.Errorf("chaos: elect the preferred leaders of %q: %w", topic, err)
	}
	return nil
}

// read returns the whole topic as it is now. parse returns the message of a payload.
func (b Brokers) read(ctx context.Context, topic string, parse func([]byte) (Message, error)) ([]Entry, error) {
	client, err := sarama.NewClient(b, clientConfig())
	if err != nil {
		return nil, fmt.Errorf("chaos: read %q: %w", topic, err)
	}
	defer client.Close()
	consumer, err := sarama.NewConsumerFromClient(client)
	if err != nil {
		return nil, fmt.Errorf("chaos: read %q: %w", topic, err)
	}
	defer consumer.Close()
	partitions, err := client.Partitions(topic)
	if err != nil {
		return nil, fmt.Errorf("chaos: read %q: %w", topic, err)
	}
	var log []Entry
	for _, p := range partitions {
		end, err := client.GetOffset(topic, p, sarama.OffsetNewest)
		if err != nil {
			return nil, fmt.Errorf("chaos: request the end offset of %q/%d: %w", topic, p, err)
		}
		if end == 0 {
			continue
		}
		records, err := consumer.ConsumePartition(topic, p, sarama.OffsetOldest)
		if err != nil {
			return nil, fmt.Errorf("chaos: read %q/%d: %w", topic, p, err)
		}
		for at := int64(-1); at < end-1; {
			select {
			case r := <-records.Messages():
				m, err := parse(r.Value)
				if err != nil {
					records.AsyncClose()
					return nil, fmt.Errorf("chaos: read %q/%d at %d: %w", topic, p, r.Offset, err)
				}
				at = r.Offset
				log = append(log, Entry{m, Place{p, r.Offset}})
			case <-ctx.Done():
				_ = records.Close()
				return nil, fmt.Errorf("chaos: read %q/%d from %d to %d: %w", topic, p, at+1, end, context.Cause(ctx))
			}
		}
		if err := records.Close(); err != nil {
			return nil, fmt.Errorf("chaos: read %q/%d: %w", topic, p, err)
		}
	}
	return log, nil
}

// committed returns the committed offsets of the group. Partitions without a committed offset are left
// out.
func (b Brokers) committed(ctx context.Context, group, topic string, partitions int32) (map[int32]int64, error) {
	offsets := make(map[int32]int64)
	all := make([]int32, partitions)
	for p := range all {
		all[p] = int32(p)
	}
	err := retry(ctx, func() error {
		admin, err := sarama.NewClusterAdmin(b, clientConfig())
		if err != nil {
			return err
		}
		defer admin.Close()
		response, err := admin.ListConsumerGroupOffsets(group, map[string][]int32{topic: all})
		if err != nil {
			return err
		}
		for p, block := range response.Blocks[topic] {
			if block.Err != sarama.ErrNoError {
				return block.Err
			}
			if block.Offset >= 0 {
				offsets[p] = block.Offset
			}
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("chaos: request the committed offsets of group %q: %w", group, err)
	}
	return offsets, nil
}
