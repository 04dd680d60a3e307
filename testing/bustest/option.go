package bustest

import (
	"time"

	"github.com/trunkline/trunkline/bus"
)

// DefaultPatience is how long a kit waits for what is expected, unless [Patience] says
// otherwise.
const DefaultPatience = 10 * time.Second

// Option sets something about a [Kit]. What makes no sense fails the test.
type Option func(*settings)

type settings struct {
	topics     []bus.TopicSpec
	partitions int32
	patience   time.Duration
	bus        []bus.Option
	seed       uint64
	clock      *clock
	goroutines bool
}

// Topics makes these topics before the test begins. A topic that nobody made is NotFound to
// the program under test, as in production.
func Topics(names ...string) Option {
	return func(s *settings) {
		for _, name := range names {
			s.topics = append(s.topics, bus.TopicSpec{Name: name})
		}
	}
}

// Topic makes one topic that needs more than a name.
func Topic(spec bus.TopicSpec) Option {
	return func(s *settings) { s.topics = append(s.topics, spec) }
}

// Partitions sets how many partitions a topic gets that names no number. Default 1, so that
// everything comes in the order in which it was published.
func Partitions(n int32) Option { return func(s *settings) { s.partitions = n } }

// Patience sets how long to wait for what is expected, [DefaultPatience] without it. It
// passes only when a test fails, so let it be long.
func Patience(d time.Duration) Option { return func(s *settings) { s.patience = d } }

// BusOptions are for every bus of the kit: the program's own hooks, its defaults.
func BusOptions(opts ...bus.Option) Option {
	return func(s *settings) { s.bus = append(s.bus, opts...) }
}

// Seed sets what the kit's [Faults] decide by. Default 1.
func Seed(seed uint64) Option { return func(s *settings) { s.seed = seed } }

// StartClock gives the kit a clock that stands at this time and moves by [Kit.Advance]
// only. [Kit.Now] reads it, and what is published without a timestamp gets it. Timers don't
// follow it: tests of those run in testing/synctest, where the kit's clock is the bubble's.
func StartClock(at time.Time) Option { return func(s *settings) { s.clock = newClock(at) } }

// CheckGoroutines fails the test when goroutines that were started in it are left when
// the kit has closed everything. It knows them by a label that goroutines inherit from
// the one that calls New (see [runtime/pprof]), so tests that run side by side don't
// disturb each other. The caller's own labels are gone from then on.
func CheckGoroutines() Option { return func(s *settings) { s.goroutines = true } }
