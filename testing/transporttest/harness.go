package transporttest

import (
	"sync/atomic"
	"testing"
	"time"

	"github.com/trunkline/trunkline/bus"
	"github.com/trunkline/trunkline/bus/driver"
)

// Connect returns a new transport that is connected to the broker of a scenario. The suite
// calls it several times, and closes the transports. Messages that are published through
// one of them arrive at the others.
type Connect func(t *testing.T) driver.Transport

// Harness describes a transport to the suite. Only New is required. Scenarios that need a
// field which is nil are skipped.
//
// If the transport has a timeout for revoked claims, set it above Timeout. Then a claim that
// is never released fails its scenario.
type Harness struct {
	// New prepares a broker, or a new namespace of a broker, for one scenario, and returns
	// a function that connects to it. Scenarios call it concurrently. Register the cleanup
	// with t.Cleanup.
	New func(t *testing.T) Connect
	// Crash simulates that the process of the transport crashes: the transport commits nothing
	// more, and reports nothing to the broker.
	Crash func(t *testing.T, tr driver.Transport)
	// Disconnect disconnects the transport from its broker, and returns a function that
	// connects it again. It must not wait. Other transports stay connected.
	Disconnect func(t *testing.T, tr driver.Transport) (connect func())
	// AddPartitions adds n partitions to an existing topic.
	AddPartitions func(t *testing.T, tr driver.Transport, topic string, n int32)
	// Undecodable appends a record with the key, the headers and the payload of r to partition 0
	// of a topic. No transport that Connect returns can decode the record. If Undecodable is
	// nil, the suite marks a record as undecodable after the transport has decoded it. That
	// tests package bus, but not which fields of such a record the transport delivers.
	Undecodable func(t *testing.T, tr driver.Transport, topic string, r driver.Record)
	// NoTimestamps means that the transport does not transmit the timestamp of the
	// publisher.
	NoTimestamps bool
	// PublishWaitsForAck means that publishing blocks until a subscriber has acknowledged the
	// message. Scenarios in which no subscriber acknowledges are skipped.
	PublishWaitsForAck bool
	// Unbounded means that code below the transport starts goroutines for messages that no
	// subscriber reads. Scenarios that count goroutines under load are skipped.
	Unbounded bool
	// Timeout is how long the suite waits for an expected event. The default is 20 s. After
	// a scenario has failed for this reason, the others wait for a tenth of it, so that a
	// broken transport is reported soon.
	Timeout time.Duration
	// SubscribeOptions are added to every subscription.
	SubscribeOptions []bus.SubscribeOption
	// Only names the scenarios to run. The default, nil, means all. Use it for another
	// configuration of a transport that affects only some scenarios.
	Only []string
	// Except maps scenarios that the system behind the transport cannot pass to the reason.
	// The suite skips them with that reason.
	Except map[string]string

	// timedOut is set when a scenario has failed after Timeout. All scenarios of a run share
	// it.
	timedOut *atomic.Bool
}

func (h Harness) withDefaults() Harness {
	if h.Timeout == 0 {
		h.Timeout = 20 * time.Second
	}
	h.timedOut = new(atomic.Bool)
	return h
}
