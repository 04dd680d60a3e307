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

// operation does what is measured once, for one of several callers.
type operation func(ctx context.Context, caller int) error

// drive lets callers repeat the operation side by side: to warm up, and then for as
// long as it measures. Each operation counts for units.
func (e *env) drive(ctx context.Context, callers, units int, op operation) (sample, error) {
	if _, err := repeat(ctx, callers, e.warm, op); err != nil {
		return sample{}, err
	}
	c := begin()
	times, err := repeat(ctx, callers, e.measure, op)
	s := c.end(len(times) * units)
	if err != nil {
		return s, err
	}
	slices.Sort(times)
	s.P50, s.P99, s.P999 = percentile(times, 0.5), percentile(times, 0.99), percentile(times, 0.999)
	return s, nil
}

// repeat returns how long each operation took. Each caller does one at least, however
// late it gets to it.
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
			took := make([]time.Duration, 0, 1<<20/callers)
			before := time.Now()
			for first := true; first || !stop.Load() && errs[i] == nil; first = false {
				errs[i] = op(ctx, i)
				now := time.Now()
				took = append(took, now.Sub(before))
				before = now
			}
			if errs[i] != nil {
				stop.Store(true)
			}
			times[i] = took
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

// clock measures what this process does from begin to end.
type clock struct {
	began   time.Time
	mallocs uint64
	cpu     time.Duration
}

func begin() clock {
	runtime.GC()
	return clock{mallocs: mallocs(), cpu: cpu(), began: time.Now()}
}

func (c clock) end(units int) sample {
	took, spent, made := time.Since(c.began), cpu()-c.cpu, mallocs()-c.mallocs
	n := float64(max(1, units))
	return sample{
		Rate: float64(units) / took.Seconds(), Allocs: float64(made) / n, CPU: time.Duration(float64(spent) / n),
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
