package bus

import (
	"context"

	"github.com/trunkline/trunkline/bus/driver"
)

// Check examines every broker and the topics of spec. ctx bounds it. Problems are in the Health,
// not in the error: the error has CodeUnsupported where the transport has no brokers, and
// CodeClosed after Close. To find out whether the bus can be used now, [Bus.Ready] and [Bus.Ping]
// are faster and work on every transport.
func (b *Bus) Check(ctx context.Context, spec driver.CheckSpec) (driver.Health, error) {
	if err := b.enter("check", ""); err != nil {
		return driver.Health{}, err
	}
	defer b.calls.leave()
	c, ok := b.t.(driver.Checker)
	if !ok {
		return driver.Health{}, &Error{Code: CodeUnsupported, Op: "check", Transport: b.caps.Name, Reason: "this transport has no brokers"}
	}
	return c.Check(ctx, spec), nil
}
