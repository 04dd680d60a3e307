package transporttest

import (
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
)

// partitions is the number of partitions of a topic in most scenarios.
const partitions = 4

// scenario checks one property of a transport.
type scenario struct {
	name string
	// needs are the requirements of run.
	needs requirements
	// without makes additional checks of a transport that lacks a requirement. May be nil.
	without func(t *testing.T, e *env)
	run     func(t *testing.T, e *env)
	// alone means that the scenario measures goroutines or memory, so no other may run
	// concurrently.
	alone bool
}

// Rebalances returns the names of the scenarios about groups, for Harness.Only. Run them with
// each protocol that a transport supports for assigning partitions.
func Rebalances() []string {
	var names []string
	for _, group := range [][]scenario{groupScenarios, rebalanceScenarios} {
		for _, s := range group {
			names = append(names, s.name)
		}
	}
	return names
}

// Run runs all scenarios against the transport. The test that calls it must not be parallel,
// because some scenarios count goroutines. The other scenarios run in parallel.
func Run(t *testing.T, h Harness) {
	t.Helper()
	h = h.withDefaults()
	unknown := slices.Clone(h.Only)
	for _, group := range [][]scenario{
		leakScenarios, stallScenarios, publishScenarios, recordScenarios, orderScenarios, windowScenarios,
		acknowledgeScenarios, closeScenarios, startScenarios, groupScenarios, rebalanceScenarios, outageScenarios,
		topicScenarios, deadLetterScenarios, undecodableScenarios, batchScenarios,
	} {
		for _, s := range group {
			if h.Only != nil && !slices.Contains(h.Only, s.name) {
				continue
			}
			unknown = slices.DeleteFunc(unknown, func(name string) bool { return name == s.name })
			t.Run(s.name, func(t *testing.T) {
				if !s.alone {
					t.Parallel()
				}
				if reason, ok := h.Except[s.name]; ok {
					t.Skip(reason)
				}
				e := newEnv(t, h)
				if missing := s.needs.check(t, e); missing != "" {
					if s.without != nil {
						s.without(t, e)
					}
					t.Skipf("%s: %s", e.caps.Name, missing)
				}
				s.run(t, e)
			})
		}
	}
	require.Empty(t, unknown, "Harness.Only names scenarios that do not exist")
}
