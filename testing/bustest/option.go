package bustest

import (
	"time"

	"github.com/trunkline/trunkline/bus"
)

// defaultTimeout bounds each wait of a kit without WithTimeout.
const defaultTimeout = 10 * time.Second

// Option configures a [Kit]. [New] fails the test if an option is invalid.
type Option func(*settings)

type settings struct {
	topics     []string
	partitions int32
	timeout    time.Duration
	bus        []bus.Option
	seed       uint64
	clock      *clock
	goroutines bool
}

// WithTopics creates these topics before the test begins. As in production, the program under
// test gets a NotFound error for a topic that does not exist. To set other properties of a topic
// than its name, use [Kit.CreateTopic].
func WithTopics(names ...string) Option {
	return func(s *settings) { s.topics = append(s.topics, names...) }
}

// WithPartitions sets the number of partitions of topics that are created without a number.
// The default is 1, so that messages arrive in the order in which they were published.
func WithPartitions(n int32) Option { return func(s *settings) { s.partitions = n } }

// WithTimeout sets how long each method of the kit waits before it fails the test. The default
// is 10 seconds. Only a failing test waits that long, so prefer a long timeout: a short one
// fails on a slow machine.
func WithTimeout(d time.Duration) Option { return func(s *settings) { s.timeout = d } }

// WithBusOptions configures every bus of the kit, for example with the program's own hooks.
func WithBusOptions(opts ...bus.Option) Option {
	return func(s *settings) { s.bus = append(s.bus, opts...) }
}

// WithSeed sets the seed of the kit's [Faults]. The default is 1.
func WithSeed(seed uint64) Option { return func(s *settings) { s.seed = seed } }

// WithClock gives the kit a clock that shows this time and that only [Kit.Advance] moves.
// [Kit.Now] returns its time, and a message that is published without a timestamp gets it.
// Timers do not follow this clock. To test timers, run the test inside testing/synctest; New
// fails the test if WithClock is used there.
func WithClock(at time.Time) Option { return func(s *settings) { s.clock = newClock(at) } }

// WithGoroutineCheck fails the test if goroutines that it started still run after the kit has
// closed everything. The check finds them by a label (see [runtime/pprof]) that goroutines
// inherit from the goroutine that calls New, so parallel tests do not disturb each other. New
// removes the caller's own labels.
func WithGoroutineCheck() Option { return func(s *settings) { s.goroutines = true } }
