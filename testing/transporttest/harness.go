package transporttest

import (
	"testing"
	"time"

	"github.com/trunkline/trunkline/bus"
	"github.com/trunkline/trunkline/bus/driver"
)

// Connect makes a transport that is connected to a scenario's broker. It is called
// several times: what is published through one transport arrives through the
// others. The suite closes what it returns.
type Connect func(t *testing.T) driver.Transport

// Harness is what the suite needs to know of a transport. Only New is required.
type Harness struct {
	// New prepares a broker, or an unused namespace of one, for one scenario, and
	// returns how to connect to it. It is called from many scenarios at once. What
	// has to be stopped is registered with t.Cleanup.
	New func(t *testing.T) Connect
	// Crash makes the transport stop as if its process had died: nothing more is
	// committed and nobody is told. nil skips the scenario that needs it.
	Crash func(t *testing.T, tr driver.Transport)
	// NoTimestamps: the transport does not carry the time that a publisher sets.
	NoTimestamps bool
	// AckToPublish: publishing ends when a subscriber has acknowledged the message.
	// The scenarios in which nobody does are skipped.
	AckToPublish bool
	// Unbounded: what the transport is made of starts goroutines for messages that
	// nobody reads. The scenario that counts them is skipped.
	Unbounded bool
	// Patience is how long the suite waits for what has to happen. Default 20 s.
	Patience time.Duration
	// SubscribeOptions are for every subscription.
	SubscribeOptions []bus.SubscribeOption
}

const partitions = 4

// scenario is one property of a transport.
type scenario struct {
	name string
	// needs says what the transport lacks for run; "" for nothing.
	needs func(e *env) string
	// without checks the answers of a transport that lacks it; may be nil.
	without func(t *testing.T, e *env)
	run     func(t *testing.T, e *env)
	// alone: it counts goroutines, so nothing may run beside it.
	alone bool
}

// Run checks the transport against every scenario. The test that calls it must not
// be parallel, because some scenarios count goroutines; the others run in parallel
// with each other.
func Run(t *testing.T, h Harness) {
	t.Helper()
	if h.Patience == 0 {
		h.Patience = 20 * time.Second
	}
	for _, group := range [][]scenario{
		leakScenarios, stallScenarios, publishScenarios, recordScenarios, orderScenarios, windowScenarios,
		acknowledgeScenarios, closeScenarios, startScenarios, groupScenarios, topicScenarios, deadLetterScenarios,
	} {
		for _, s := range group {
			t.Run(s.name, func(t *testing.T) {
				if !s.alone {
					t.Parallel()
				}
				e := newEnv(t, h)
				if s.needs != nil {
					if lacking := s.needs(e); lacking != "" {
						if s.without != nil {
							s.without(t, e)
						}
						t.Skipf("%s: %s", e.caps.Name, lacking)
					}
				}
				s.run(t, e)
			})
		}
	}
}

// all says the first thing that is lacking.
func all(needs ...func(*env) string) func(*env) string {
	return func(e *env) string {
		for _, need := range needs {
			if lacking := need(e); lacking != "" {
				return lacking
			}
		}
		return ""
	}
}

func need(has func(bus.Capabilities) bool, lacking string) func(*env) string {
	return func(e *env) string {
		if has(e.caps) {
			return ""
		}
		return lacking
	}
}

var (
	needOrder      = need(func(c bus.Capabilities) bool { return c.Ordered }, "it keeps no order")
	needKeys       = need(func(c bus.Capabilities) bool { return c.Keys }, "it carries no keys")
	needPartitions = need(func(c bus.Capabilities) bool { return c.Partitions }, "its topics have no partitions")
	needGroups     = need(func(c bus.Capabilities) bool { return c.Groups }, "it has no consumer groups")
	needReplay     = need(func(c bus.Capabilities) bool { return c.Replay }, "it keeps no log to start in")
	needRedelivery = need(func(c bus.Capabilities) bool { return c.Redelivery }, "what is not acknowledged is gone when the process ends")
	needTopics     = need(func(c bus.Capabilities) bool { return c.Topics }, "any name is a topic at once")
	needWindow     = need(func(c bus.Capabilities) bool { return !c.DirectAck }, "it hands out one message at a time")
)

func needTimestamps(e *env) string {
	if e.h.NoTimestamps {
		return "it does not carry the publisher's time"
	}
	return ""
}

func needBounds(e *env) string {
	if e.h.Unbounded {
		return "what it is made of keeps no bounds"
	}
	return ""
}

func needFreePublish(e *env) string {
	if e.h.AckToPublish {
		return "publishing waits for an acknowledgement"
	}
	return ""
}
