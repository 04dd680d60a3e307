package chaos

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/IBM/sarama"
)

// Brokers asks the brokers themselves, with a client that has nothing to do with what is
// tested. The elements are host:port. Its methods may be called from many goroutines.
type Brokers []string

func configuration() *sarama.Config {
	conf := sarama.NewConfig()
	conf.ClientID = "trunkline-chaos"
	conf.Version = sarama.V2_8_0_0
	conf.Metadata.AllowAutoTopicCreation = false
	conf.Net.DialTimeout = 2 * time.Second
	conf.Net.ReadTimeout = 5 * time.Second
	conf.Net.WriteTimeout = 5 * time.Second
	return conf
}

// try calls f until it returns nil or ctx ends; then it returns f's last error.
func try(ctx context.Context, f func() error) error {
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

// InSync waits until every broker answers, and every one of them says of each partition
// of each topic, internal ones included, that it has a leader and that all its
// replicas are in sync. When ctx ends it returns what was missing last.
func (b Brokers) InSync(ctx context.Context) error {
	err := try(ctx, func() error {
		for _, addr := range b {
			if err := b.inSync(addr); err != nil {
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

func (b Brokers) inSync(addr string) error {
	topics, known, err := ask(addr, nil)
	if err != nil {
		return err
	}
	if known != len(b) {
		return fmt.Errorf("broker %s knows %d of %d brokers", addr, known, len(b))
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

// ask returns a broker's word on topics, all of them when topics is nil, and on how many
// brokers there are.
func ask(addr string, topics []string) ([]*sarama.TopicMetadata, int, error) {
	conf := configuration()
	conn := sarama.NewBroker(addr)
	if err := conn.Open(conf); err != nil {
		return nil, 0, fmt.Errorf("connect to %s: %w", addr, err)
	}
	defer conn.Close()
	request := sarama.NewMetadataRequest(conf.Version, topics)
	request.AllowAutoTopicCreation = false
	answer, err := conn.GetMetadata(request)
	if err != nil {
		return nil, 0, fmt.Errorf("ask %s for metadata: %w", addr, err)
	}
	return answer.Topics, len(answer.Brokers), nil
}

// Leaders returns the leader of each of the topic's partitions, by partition; -1 where
// there is none.
func (b Brokers) Leaders(ctx context.Context, topic string) ([]int32, error) {
	leaders, _, err := b.leaders(ctx, topic)
	return leaders, err
}

func (b Brokers) leaders(ctx context.Context, topic string) (now, preferred []int32, err error) {
	err = try(ctx, func() error {
		var errs []error
		for _, addr := range b {
			topics, _, err := ask(addr, []string{topic})
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
		return nil, nil, fmt.Errorf("chaos: ask for the leaders of %q: %w", topic, err)
	}
	return now, preferred, nil
}

// Balance gives the leadership of the topic's partitions back to the brokers that lead
// them by preference, and waits until they do. A broker that was away leads nothing
// when it is back, and killing it once more would prove nothing.
func (b Brokers) Balance(ctx context.Context, topic string) error {
	err := try(ctx, func() error {
		now, preferred, err := b.leaders(ctx, topic)
		if err != nil || slices.Equal(now, preferred) {
			return err
		}
		admin, err := sarama.NewClusterAdmin(b, configuration())
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
		return fmt.Errorf("chaos: have the preferred leaders of %q elected: %w", topic, err)
	}
	return nil
}

// read returns the whole topic, as it is now. parse tells a record's message.
func (b Brokers) read(ctx context.Context, topic string, parse func([]byte) (Message, error)) ([]Entry, error) {
	client, err := sarama.NewClient(b, configuration())
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
			return nil, fmt.Errorf("chaos: find the end of %q/%d: %w", topic, p, err)
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

// positions returns what the brokers hold as the group's positions; partitions without
// one are left out.
func (b Brokers) positions(ctx context.Context, group, topic string, partitions int32) (map[int32]int64, error) {
	at := make(map[int32]int64)
	all := make([]int32, partitions)
	for p := range all {
		all[p] = int32(p)
	}
	err := try(ctx, func() error {
		admin, err := sarama.NewClusterAdmin(b, configuration())
		if err != nil {
			return err
		}
		defer admin.Close()
		answer, err := admin.ListConsumerGroupOffsets(group, map[string][]int32{topic: all})
		if err != nil {
			return err
		}
		for p, block := range answer.Blocks[topic] {
			if block.Err != sarama.ErrNoError {
				return block.Err
			}
			if block.Offset >= 0 {
				at[p] = block.Offset
			}
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("chaos: ask for the positions of group %q: %w", group, err)
	}
	return at, nil
}
