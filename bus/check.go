package bus

import (
	"context"

	"github.com/trunkline/trunkline/bus/driver"
)

// Check checks every broker and the topics of spec, and ends when ctx ends. It reports all problems
// that it finds in the Health. It returns an error only if it could not begin: with CodeUnsupported
// if the transport has no brokers, and with CodeClosed after Close. To find out whether the broker
// answers, use [Bus.Ready] or [Bus.Ping]: they are faster.
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
