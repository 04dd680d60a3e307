package dlq

import (
	"context"
	"time"

	"github.com/trunkline/trunkline/bus"
)

// Get returns the letter at a place, or an error with bus.CodeNotFound if there is none.
func Get(ctx context.Context, b *bus.Bus, topic string, at Place, quiet time.Duration) (*Letter, error) {
	missing := &bus.Error{Code: bus.CodeNotFound, Op: "read", Topic: topic, Reason: "there is no message at " + at.String()}
	info, err := b.DescribeTopic(ctx, topic)
	if err != nil {
		return nil, err
	}
	if at.Partition >= info.Partitions {
		return nil, missing
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	found := make(chan *Letter, 1)
	sub, err := b.Consume(ctx, topic, func(_ context.Context, d *bus.Delivery) error {
		var l *Letter
		if d.Record.Offset == at.Offset {
			l = Read(d.Record)
		}
		found <- l // only once, because Stop ends the subscription
		return bus.Stop(ErrEnough)
	}, bus.NoGroup(), bus.OnlyPartitions(at.Partition), bus.FromOffset(at.Offset), bus.OrderByPartition())
	if err != nil {
		return nil, err
	}
	defer func() {
		cancel()
		<-sub.Done()
	}()
	readyErr := sub.Ready(ctx)
	begun := time.Now()
	tick := time.NewTicker(pollInterval)
	defer tick.Stop()
	for {
		select {
		case l := <-found:
			if l == nil {
				return nil, missing
			}
			return l, nil
		case <-sub.Done():
			select {
			case l := <-found:
				if l != nil {
					return l, nil
				}
				return nil, missing
			default:
			}
			if bus.CodeOf(sub.Err()) == bus.CodeOutOfRange {
				return nil, missing
			}
			return nil, sub.Err()
		case <-tick.C:
			lags := sub.Lag()
			late := readyErr == nil && time.Since(begun) > quiet
			if (len(lags) == 1 && lags[0].Records == 0 || late) && len(found) == 0 {
				return nil, missing
			}
		}
	}
}
