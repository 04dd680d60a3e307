package main

import (
	"context"
	"errors"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// operation is one measured operation of one of several callers.
type operation func(ctx context.Context, caller int) error

// measureRepeated measures concurrent callers that repeat the operation, after a warm-up. Each operation
// counts as this number of units.
func (e *env) measureRepeated(ctx context.Context, callers, units int, op operation) (sample, error) {
	if _, err := repeat(ctx, callers, e.warm, op); err != nil {
		return sample{}, err
	}
	c := startMeter()
	times, err := repeat(ctx, callers, e.measure, op)
	s := c.end(len(times) * units)
	if err != nil {
		return s, err
	}
	slices.Sort(times)
	s.P50, s.P99, s.P999 = percentile(times, 0.5), percentile(times, 0.99), percentile(times, 0.999)
	return s, nil
}

// repeat calls the operation from concurrent callers for the duration d, and returns the duration of each
// call. Each caller calls it at least once, even if it starts late.
func repeat(ctx context.Context, callers int, d time.Duration, op operation) ([]time.Duration, error) {
	var (
		wg   sync.WaitGroup
		stop atomic.Bool
	)
	defer time.AfterFunc(d, func() { stop.Store(true) }).Stop()
	times := make([][]time.Duration, callers)
	errs := make([]error, callers)
	for i := range callers {
		wg.Go(func() {
			durations := make([]time.Duration, 0, 1<<20/callers)
			before := time.Now()
			for first := true; first || !stop.Load() && errs[i] == nil; first = false {
				errs[i] = op(ctx, i)
				now := time.Now()
				durations = append(durations, now.Sub(before))
				before = now
			}
			if errs[i] != nil {
				stop.Store(true)
			}
			times[i] = durations
		})
	}
	wg.Wait()
	return slices.Concat(times...), errors.Join(errs...)
}

func percentile(sorted []time.Duration, p float64) time.Duration {
	if len(sorted) == 0 {
		return 0
	}
	return sorted[min(len(sorted)-1, int(p*float64(len(sorted))))]
}

// meter measures the time, the CPU time and the allocations of this process.
type meter struct {
	begin   time.Time
	mallocs uint64
	cpu     time.Duration
}

// startMeter collects garbage and starts a meter.
func startMeter() meter {
	runtime.GC()
	return readMeter()
}

func readMeter() meter { return meter{mallocs: mallocs(), cpu: cpu(), begin: time.Now()} }

// end returns the sample since startMeter. units is the number of units that were done in that time.
func (m meter) end(units int) sample {
	elapsed, spent, allocated := time.Since(m.begin), cpu()-m.cpu, mallocs()-m.mallocs
	n := float64(max(1, units))
	return sample{
		Rate: float64(units) / elapsed.Seconds(), Allocs: float64(allocated) / n, CPU: time.Duration(float64(spent) / n),
	}
}

func mallocs() uint64 {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.Mallocs
}

func cpu() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
