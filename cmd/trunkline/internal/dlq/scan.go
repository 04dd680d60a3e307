package dlq

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/trunkline/trunkline/bus"
)

// ErrEnough is the error that the callback of a scan returns to end the scan. The scan then
// returns no error.
var ErrEnough = errors.New("the scan has read enough")

// pollInterval is how often a scan checks whether it is at the end.
const pollInterval = 10 * time.Millisecond

// Scan reads the topic without a group, from its oldest record to its end. It calls each
// for one record at a time, in order within a partition. It returns the offset after the
// last record of each partition that has records.
//
// Usually the broker reports the end of a partition. If it does not, for example because the
// partition is empty, Scan stops when no record has arrived for the duration quiet.
func Scan(ctx context.Context, b *bus.Bus, topic string, quiet time.Duration, each func(*bus.Record) error) (map[int32]int64, error) {
	info, err := b.DescribeTopic(ctx, topic)
	if err != nil {
		return nil, err
	}
	return read(ctx, b, topic, each, func(sub *bus.Subscription, _ map[int32]int64, idle time.Duration) bool {
		lags := sub.Lag()
		for _, l := range lags {
			if l.Records > 0 {
				return idle >= quiet
			}
		}
		return len(lags) == int(info.Partitions) || idle >= quiet
	})
}

// ScanTo repeats an earlier Scan: it reads the same records, up to the offsets in ends.
func ScanTo(ctx context.Context, b *bus.Bus, topic string, ends map[int32]int64, each func(*bus.Record) error) error {
	within := func(r *bus.Record) error {
		if r.Offset >= ends[r.Partition] {
			return nil
		}
		return each(r)
	}
	_, err := read(ctx, b, topic, within, func(_ *bus.Subscription, seen map[int32]int64, _ time.Duration) bool {
		for p, end := range ends {
			if seen[p] < end {
				return false
			}
		}
		return true
	})
	return err
}

// read reads until finished returns true. idle is the time since the last record.
func read(ctx context.Context, b *bus.Bus, topic string, each func(*bus.Record) error,
	finished func(sub *bus.Subscription, seen map[int32]int64, idle time.Duration) bool) (map[int32]int64, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var mu sync.Mutex
	seen, last := map[int32]int64{}, time.Now()
	var over error // the reason to stop; nil while reading
	sub, err := b.Consume(ctx, topic, func(_ context.Context, d *bus.Delivery) error {
		mu.Lock()
		defer mu.Unlock()
		if over == nil {
			over = each(d.Record)
		}
		if over != nil {
			return bus.Stop(over)
		}
		seen[d.Record.Partition], last = d.Record.Offset+1, time.Now()
		return nil
	}, bus.NoGroup(), bus.FromOldest(), bus.OrderByPartition())
	if err != nil {
		return nil, err
	}
	err = sub.Ready(ctx)
	mu.Lock()
	last = time.Now()
	mu.Unlock()
	tick := time.NewTicker(pollInterval)
	defer tick.Stop()
	for err == nil {
		select {
		case <-tick.C:
		case <-sub.Done():
			err = sub.Err()
			continue
		}
		mu.Lock()
		if over == nil && finished(sub, seen, time.Since(last)) {
			over = ErrEnough
		}
		err = over
		mu.Unlock()
	}
	cancel()
	<-sub.Done() // handlers return quickly
	mu.Lock()
	defer mu.Unlock()
	switch {
	case over == nil:
		return nil, err
	case errors.Is(over, ErrEnough):
		return seen, nil
	default:
		return nil, over
	}
}
