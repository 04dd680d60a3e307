package main

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"slices"
	"sync/atomic"
	"time"

	"github.com/trunkline/trunkline/testing/kafkatest"
)

// groups are the groups of scenarios.
var groups = []string{"publish", "consume", "consumer", "memory", "rpc"}

func scenarios() []scenario {
	return slices.Concat(publishScenarios(), consumeScenarios(), managedScenarios(), memoryScenarios(), rpcScenarios())
}

// env has the settings and the brokers of a run.
type env struct {
	measure, warm time.Duration // the duration of a measurement, and of its warm-up
	// records is the number of records that a consumer reads. slowRecords is that number for consumers
	// that handle one message at a time in 1 ms. keys is the number of keys.
	records, slowRecords, keys int
	out                        io.Writer // for progress

	brokers []string
	admin   *kafkatest.Broker
	// loaded is the topic that consumers read now. topics are all loaded topics, by their number of keys.
	loaded  string
	topics  map[int]string
	counter atomic.Int64 // for unique names
}

// scenario is a task that several peers do.
type scenario struct {
	group, name string
	unit        string // of the rate
	kafka       bool   // the scenario needs brokers
	latency     bool   // latencies are meaningful
	peers       []peer
}

// peer is one implementation of a scenario. run measures it once.
type peer struct {
	name string
	ours bool
	base bool // the ratios are relative to this peer
	run  func(context.Context, *env) (sample, error)
}

// sample is one measurement.
type sample struct {
	Rate           float64 // units per second
	P50, P99, P999 time.Duration
	Allocs         float64       // per unit
	CPU            time.Duration // of this process, per unit
	PerRequest     float64       // records per produce request; 0 if they are not counted
}

// result is the result of a scenario.
type result struct {
	Group, Name, Unit string
	Latency           bool
	Rows              []row
}

// row is the result of a peer: the median of each measure, and the lowest and the highest rate.
type row struct {
	Peer         string
	Ours, Base   bool
	Median       sample
	Lowest, Most float64
}

// run measures every peer once in each round. Every second round is in reverse order, so that no peer always
// runs after the same other one.
func (e *env) run(ctx context.Context, s scenario, rounds int) (result, error) {
	samples := make([][]sample, len(s.peers))
	for round := range rounds {
		for n := range s.peers {
			if round%2 == 1 {
				n = len(s.peers) - 1 - n
			}
			p := s.peers[n]
			fmt.Fprintf(e.out, "%s, %s: round %d of %d, %s\n", s.group, s.name, round+1, rounds, p.name)
			limited, cancel := context.WithTimeout(ctx, 2*time.Minute)
			got, err := p.run(limited, e)
			cancel()
			if err != nil {
				return result{}, fmt.Errorf("%s, %s: %s: %w", s.group, s.name, p.name, err)
			}
			samples[n] = append(samples[n], got)
		}
	}
	r := result{Group: s.group, Name: s.name, Unit: s.unit, Latency: s.latency}
	for i, p := range s.peers {
		rates := median(samples[i], func(s sample) float64 { return s.Rate })
		lowest := slices.MinFunc(samples[i], func(a, b sample) int { return cmp.Compare(a.Rate, b.Rate) })
		most := slices.MaxFunc(samples[i], func(a, b sample) int { return cmp.Compare(a.Rate, b.Rate) })
		r.Rows = append(r.Rows, row{Peer: p.name, Ours: p.ours, Base: p.base, Lowest: lowest.Rate, Most: most.Rate, Median: sample{
			Rate:       rates,
			P50:        median(samples[i], func(s sample) time.Duration { return s.P50 }),
			P99:        median(samples[i], func(s sample) time.Duration { return s.P99 }),
			P999:       median(samples[i], func(s sample) time.Duration { return s.P999 }),
			Allocs:     median(samples[i], func(s sample) float64 { return s.Allocs }),
			CPU:        median(samples[i], func(s sample) time.Duration { return s.CPU }),
			PerRequest: median(samples[i], func(s sample) float64 { return s.PerRequest }),
		}})
	}
	return r, nil
}

func median[T cmp.Ordered](samples []sample, of func(sample) T) T {
	values := make([]T, len(samples))
	for i, s := range samples {
		values[i] = of(s)
	}
	slices.Sort(values)
	return values[len(values)/2]
}

// name returns a unique name.
func (e *env) name(prefix string) string {
	return fmt.Sprintf("bench-%s-%d-%d", prefix, time.Now().UnixMilli(), e.counter.Add(1))
}

// topic creates a topic; drop deletes it.
func (e *env) topic(ctx context.Context, prefix string, partitions int) (name string, drop func(), err error) {
	name = e.name(prefix)
	if err := e.admin.CreateTopic(ctx, name, partitions); err != nil {
		return "", nil, err
	}
	return name, func() {
		// An error is only printed: a topic that is left behind does no harm.
		if err := e.admin.DeleteTopic(context.WithoutCancel(ctx), name); err != nil {
			fmt.Fprintln(e.out, err)
		}
	}, nil
}
