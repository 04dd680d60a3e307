package kafka

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/IBM/sarama"

	"github.com/trunkline/trunkline/bus/driver"
)

// listOffsets asks the leaders for one offset of each partition: the oldest, the
// newest (sarama.OffsetOldest, sarama.OffsetNewest), or that of the first record not
// older than a time in milliseconds, -1 when there is none.
func listOffsets(c *client, topic string, partitions []int32, at int64) (map[int32]int64, error) {
	offsets, err := listOffsetsOnce(c, topic, partitions, at)
	if err != nil {
		if err := c.RefreshMetadata(topic); err != nil {
			return nil, err
		}
		return listOffsetsOnce(c, topic, partitions, at)
	}
	return offsets, nil
}

func listOffsetsOnce(c *client, topic string, partitions []int32, at int64) (map[int32]int64, error) {
	requests := make(map[*sarama.Broker]*sarama.OffsetRequest)
	asked := make(map[*sarama.Broker][]int32)
	for _, p := range partitions {
		leader, err := c.Leader(topic, p)
		if err != nil {
			return nil, err
		}
		if requests[leader] == nil {
			requests[leader] = sarama.NewOffsetRequest(c.Config().Version)
			requests[leader].IsolationLevel = c.Config().Consumer.IsolationLevel
		}
		requests[leader].AddBlock(topic, p, at, 1)
		asked[leader] = append(asked[leader], p)
	}
	offsets := make(map[int32]int64, len(partitions))
	for leader, req := range requests {
		res, err := leader.GetAvailableOffsets(req)
		if err != nil {
			_ = leader.Close()
			return nil, err
		}
		for _, p := range asked[leader] {
			block := res.GetBlock(topic, p)
			switch {
			case block == nil:
				return nil, sarama.ErrIncompleteResponse
			case block.Err != sarama.ErrNoError:
				return nil, block.Err
			default:
				offsets[p] = block.Offset
			}
		}
	}
	return offsets, nil
}

// span is what the log of a partition holds: [oldest, newest).
type span struct{ oldest, newest int64 }

func spans(c *client, topic string, partitions []int32) (map[int32]span, error) {
	oldest, err := listOffsets(c, topic, partitions, sarama.OffsetOldest)
	if err != nil {
		return nil, err
	}
	newest, err := listOffsets(c, topic, partitions, sarama.OffsetNewest)
	if err != nil {
		return nil, err
	}
	s := make(map[int32]span, len(partitions))
	for _, p := range partitions {
		s[p] = span{oldest[p], newest[p]}
	}
	return s, nil
}

// resolve turns a start into a number for each partition.
func resolve(c *client, topic string, partitions []int32, start driver.Start, held map[int32]span) (map[int32]int64, error) {
	at := make(map[int32]int64, len(partitions))
	var times map[int32]int64
	if start.Kind == driver.StartAtTime && len(partitions) > 0 {
		var err error
		if times, err = listOffsets(c, topic, partitions, start.Time.UnixMilli()); err != nil {
			return nil, err
		}
	}
	for _, p := range partitions {
		switch s := held[p]; start.Kind {
		case driver.StartOldest:
			at[p] = s.oldest
		case driver.StartNewest:
			at[p] = s.newest
		case driver.StartAtTime:
			if at[p] = times[p]; at[p] < 0 {
				at[p] = s.newest
			}
		case driver.StartAtOffset:
			if start.Offset < s.oldest || start.Offset > s.newest {
				return nil, failCode(driver.CodeOutOfRange, "subscribe", topic, fmt.Sprintf(
					"offset %d is not in the log of partition %d, which holds %d to %d", start.Offset, p, s.oldest, s.newest), nil)
			}
			at[p] = start.Offset
		default:
			return nil, failCode(driver.CodeInvalidArgument, "subscribe", topic, "the start is not of a known kind", nil)
		}
	}
	return at, nil
}

// coordinate runs ask with the broker that coordinates the group, and again with
// another when the group has moved or the connection was bad. It stops with ctx.
func coordinate(ctx context.Context, c *client, group string, ask func(*sarama.Broker) error) error {
	var err error
	for attempt := range 4 {
		if attempt > 0 {
			sleep(ctx, jitter(100*time.Millisecond<<attempt))
		}
		if ctx.Err() != nil {
			return errors.Join(err, ctx.Err())
		}
		if attempt > 0 {
			if err = c.RefreshCoordinator(group); err != nil {
				continue
			}
		}
		var b *sarama.Broker
		if b, err = c.Coordinator(group); err != nil {
			continue
		}
		err = ask(b)
		switch {
		case err == nil:
			return nil
		case isNetwork(err), errors.Is(err, sarama.ErrNotConnected):
			_ = b.Close()
		case codeOf(err) != driver.CodeUnavailable:
			return err
		}
	}
	return err
}

// committedOffsets returns the group's positions, without the partitions that have none.
func committedOffsets(ctx context.Context, c *client, group, topic string, partitions []int32) (map[int32]int64, error) {
	found := make(map[int32]int64, len(partitions))
	if len(partitions) == 0 {
		return found, nil
	}
	err := coordinate(ctx, c, group, func(b *sarama.Broker) error {
		res, err := b.FetchOffset(sarama.NewOffsetFetchRequest(c.Config().Version, group, map[string][]int32{topic: partitions}))
		if err != nil {
			return err
		}
		if res.Err != sarama.ErrNoError {
			return res.Err
		}
		for _, p := range partitions {
			block := res.GetBlock(topic, p)
			switch {
			case block == nil:
				return sarama.ErrIncompleteResponse
			case block.Err != sarama.ErrNoError:
				return block.Err
			case block.Offset >= 0:
				found[p] = block.Offset
			}
		}
		return nil
	})
	return found, err
}

// member is who commits: a coordinator refuses one of an earlier generation.
type member struct {
	id         string
	generation int32
	instance   string // "" when it is not static
}

// commitOffsets makes the positions the group's, and returns nil when the broker said
// that they are.
func commitOffsets(ctx context.Context, c *client, group, topic string, who member, at map[int32]int64, metadata string) error {
	if len(at) == 0 {
		return nil
	}
	return coordinate(ctx, c, group, func(b *sarama.Broker) error {
		req := sarama.NewOffsetCommitRequest(c.Config(), group)
		req.ConsumerID, req.ConsumerGroupGeneration = who.id, who.generation
		if who.instance != "" && req.Version >= 7 {
			req.GroupInstanceId = &who.instance
		}
		for p, next := range at {
			req.AddBlockWithLeaderEpoch(topic, p, next, -1, sarama.ReceiveTime, metadata)
		}
		res, err := b.CommitOffset(req)
		if err != nil {
			return err
		}
		for p := range at {
			code, ok := res.Errors[topic][p]
			if !ok {
				return sarama.ErrIncompleteResponse
			}
			if code != sarama.ErrNoError {
				return code
			}
		}
		return nil
	})
}
