package kafka

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/IBM/sarama"

	"github.com/trunkline/trunkline/bus/driver"
)

// listOffsets asks the leaders for one offset of each partition. at is sarama.OffsetOldest,
// sarama.OffsetNewest, or a time in Unix milliseconds. If at is a time, the offset is that
// of the first record at or after this time, or -1 if there is none.
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

// logRange is the range of offsets in the log of a partition. newest is the offset of the
// next record.
type logRange struct{ oldest, newest int64 }

func logRanges(c *client, topic string, partitions []int32) (map[int32]logRange, error) {
	oldest, err := listOffsets(c, topic, partitions, sarama.OffsetOldest)
	if err != nil {
		return nil, err
	}
	newest, err := listOffsets(c, topic, partitions, sarama.OffsetNewest)
	if err != nil {
		return nil, err
	}
	ranges := make(map[int32]logRange, len(partitions))
	for _, p := range partitions {
		ranges[p] = logRange{oldest[p], newest[p]}
	}
	return ranges, nil
}

// resolveStart returns the offset that start selects in each partition.
func resolveStart(c *client, topic string, partitions []int32, start driver.Start, ranges map[int32]logRange) (map[int32]int64, error) {
	at := make(map[int32]int64, len(partitions))
	var times map[int32]int64
	if start.Kind == driver.StartAtTime && len(partitions) > 0 {
		var err error
		if times, err = listOffsets(c, topic, partitions, start.Time.UnixMilli()); err != nil {
			return nil, err
		}
	}
	for _, p := range partitions {
		switch r := ranges[p]; start.Kind {
		case driver.StartOldest:
			at[p] = r.oldest
		case driver.StartNewest:
			at[p] = r.newest
		case driver.StartAtTime:
			if at[p] = times[p]; at[p] < 0 {
				at[p] = r.newest
			}
		case driver.StartAtOffset:
			if start.Offset < r.oldest || start.Offset > r.newest {
				return nil, failCode(driver.CodeOutOfRange, "subscribe", topic, fmt.Sprintf(
					"the log of partition %d does not contain offset %d: it contains %d to %d", p, start.Offset, r.oldest, r.newest), nil)
			}
			at[p] = start.Offset
		default:
			return nil, failCode(driver.CodeInvalidArgument, "subscribe", topic, "the kind of the start is unknown", nil)
		}
	}
	return at, nil
}

// withCoordinator calls ask with the coordinator of the group. It tries again, up to four
// times in all, if the group has moved to another coordinator or the connection fails. It
// also returns when ctx ends.
func withCoordinator(ctx context.Context, c *client, group string, ask func(*sarama.Broker) error) error {
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
		case isNetworkError(err), errors.Is(err, sarama.ErrNotConnected):
			_ = b.Close()
		case codeOf(err) != driver.CodeUnavailable:
			return err
		}
	}
	return err
}

// committedOffsets returns the group's committed offsets. The result does not contain
// partitions without one.
func committedOffsets(ctx context.Context, c *client, group, topic string, partitions []int32) (map[int32]int64, error) {
	found := make(map[int32]int64, len(partitions))
	if len(partitions) == 0 {
		return found, nil
	}
	err := withCoordinator(ctx, c, group, func(b *sarama.Broker) error {
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

// groupMember identifies the member that commits. A coordinator rejects a commit of an
// earlier generation.
type groupMember struct {
	id         string
	generation int32
	instanceID string // "" if the member is not static
}

// commitOffsets commits offsets. It returns nil if and only if the coordinator has
// confirmed each of them.
func commitOffsets(ctx context.Context, c *client, group, topic string, member groupMember, at map[int32]int64, metadata string) error {
	if len(at) == 0 {
		return nil
	}
	return withCoordinator(ctx, c, group, func(b *sarama.Broker) error {
		req := sarama.NewOffsetCommitRequest(c.Config(), group)
		req.ConsumerID, req.ConsumerGroupGeneration = member.id, member.generation
		if member.instanceID != "" && req.Version >= 7 {
			req.GroupInstanceId = &member.instanceID
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
