package bus

import (
	"context"

	"github.com/trunkline/trunkline/bus/driver"
)

// What Check asks and answers; see package driver.
type (
	CheckSpec    = driver.CheckSpec
	Health       = driver.Health
	HealthStatus = driver.HealthStatus
	BrokerHealth = driver.BrokerHealth
	TopicHealth  = driver.TopicHealth
)

// The health states.
const (
	HealthOK       = driver.HealthOK
	HealthWarning  = driver.HealthWarning
	HealthCritical = driver.HealthCritical
)

// Check looks at every broker and at the topics of spec, and ends with ctx at the
// latest. What is wrong is in the Health, not in the error: that is CodeUnsupported where
// the transport has nothing to look at, and Closed. For whether the bus can be used now,
// [Bus.Ready] and [Bus.Ping] are quicker and work everywhere.
func (b *Bus) Check(ctx context.Context, spec CheckSpec) (Health, error) {
	if err := b.enter("check", ""); err != nil {
		return Health{}, err
	}
	defer b.gate.leave()
	c, ok := b.t.(driver.Checker)
	if !ok {
		return Health{}, &Error{Code: CodeUnsupported, Op: "check", Transport: b.caps.Name, Reason: "this transport has no brokers to look at"}
	}
	return c.Check(ctx, spec), nil
}
