package transporttest

import (
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/trunkline/trunkline/bus"
	"github.com/trunkline/trunkline/bus/driver"
)

// Connect makes a transport that is connected to a scenario's broker. It is called
// several times: what is published through one transport arrives through the
// others. The suite closes what it returns.
type Connect func(t *testing.T) driver.Transport

// Harness is what the suite needs to know of a transport. Only New is required; the
// hooks that are nil narrow what is tested, and the scenarios that need them say so
// when they are skipped.
//
// Give the transport a time-out for revoked claims that is above Patience, where it
// has one. Then a claim that is never let go makes a scenario fail instead of taking
// longer.
type Harness struct {
	// New prepares a broker, or an unused namespace of one, for one scenario, and
	// returns how to connect to it. It is called from many scenarios at once. What
	// has to be stopped is registered with t.Cleanup.
	New func(t *testing.T) Connect
	// Crash makes the transport stop as if its process had died: nothing more is
	// committed and nobody is told.
	Crash func(t *testing.T, tr driver.Transport)
	// Disconnect takes the broker away from this transport, and returns how to give it
	// back. It waits for nothing; the others keep their connections.
	Disconnect func(t *testing.T, tr driver.Transport) (connect func())
	// AddPartitions gives a topic, which has some, n more.
	AddPartitions func(t *testing.T, tr driver.Transport, topic string, n int32)
	// Undecodable appends a record with this key, these headers and this payload to
	// partition 0 of a topic, such that no transport that Connect makes can decode it.
	// Without it a decorator of the suite spoils a record after the transport has
	// decoded it, which proves what package bus makes of it, and not what the
	// transport leaves of such a record.
	Undecodable func(t *testing.T, tr driver.Transport, topic string, r driver.Record)
	// NoTimestamps: the transport does not carry the time that a publisher sets.
	NoTimestamps bool
	// AckToPublish: publishing ends when a subscriber has acknowledged the message.
	// The scenarios in which nobody does are skipped.
	AckToPublish bool
	// Unbounded: what the transport is made of starts goroutines for messages that
	// nobody reads. The scenarios that count them are skipped.
	Unbounded bool
	// Patience is how long the suite waits for what has to happen. Default 20 s.
	Patience time.Duration
	// SubscribeOptions are for every subscription.
	SubscribeOptions []bus.SubscribeOption
	// Only names the scenarios to run; nil is all of them. It is for a transport that
	// is configured otherwise, where that makes a difference to a few.
	Only []string
	// Except names scenarios that what is behind the transport can't hold, and says why:
	// they are skipped with that reason.
	Except map[string]string
}

func (h Harness) withDefaults() Harness {
	if h.Patience == 0 {
		h.Patience = 20 * time.Second
	}
	return h
}

const partitions = 4

// scenario is one property of a transport.
type scenario struct {
	name string
	// needs are what run can't do without.
	needs needs
	// without checks more answers of a transport that lacks something; may be nil.
	without func(t *testing.T, e *env)
	run     func(t *testing.T, e *env)
	// alone: it counts goroutines, so nothing may run beside it.
	alone bool
}

// Rebalances are the names of the scenarios about groups, for Harness.Only: they are
// worth running on every protocol by which a transport's members share partitions.
func Rebalances() []string {
	var names []string
	for _, group := range [][]scenario{groupScenarios, rebalanceScenarios} {
		for _, s := range group {
			names = append(names, s.name)
		}
	}
	return names
}

// Run checks the transport against every scenario. The test that calls it must not
// be parallel, because some scenarios count goroutines; the others run in parallel
// with each other.
func Run(t *testing.T, h Harness) {
	t.Helper()
	h = h.withDefaults()
	left := slices.Clone(h.Only)
	for _, group := range [][]scenario{
		leakScenarios, stallScenarios, publishScenarios, recordScenarios, orderScenarios, windowScenarios,
		acknowledgeScenarios, closeScenarios, startScenarios, groupScenarios, rebalanceScenarios, outageScenarios,
		topicScenarios, deadLetterScenarios, undecodableScenarios, batchScenarios,
	} {
		for _, s := range group {
			if h.Only != nil && !slices.Contains(h.Only, s.name) {
				continue
			}
			left = slices.DeleteFunc(left, func(name string) bool { return name == s.name })
			t.Run(s.name, func(t *testing.T) {
				if !s.alone {
					t.Parallel()
				}
				if why, ok := h.Except[s.name]; ok {
					t.Skip(why)
				}
				e := newEnv(t, h)
				if lacking := s.needs.check(t, e); lacking != "" {
					if s.without != nil {
						s.without(t, e)
					}
					t.Skipf("%s: %s", e.caps.Name, lacking)
				}
				s.run(t, e)
			})
		}
	}
	require.Empty(t, left, "Harness.Only names scenarios that do not exist")
}
