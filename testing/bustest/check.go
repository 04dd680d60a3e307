package bustest

import (
	"context"

	"github.com/trunkline/trunkline/bus/driver"
)

// Check is the transport's. While the connection is cut it is HealthCritical, and says so.
// Of a transport that can't look at its brokers it says how a Ping went: a bus over Faults
// can't tell that such a transport has no check of its own.
func (f *Faults) Check(ctx context.Context, spec driver.CheckSpec) driver.Health {
	if err := f.reach("check", ""); err != nil {
		return driver.Health{Status: driver.HealthCritical, Message: err.Error()}
	}
	if c, ok := f.inner.(driver.Checker); ok {
		return c.Check(ctx, spec)
	}
	if err := f.inner.Ping(ctx); err != nil {
		return driver.Health{Status: driver.HealthCritical, Message: err.Error()}
	}
	return driver.Health{Status: driver.HealthOK, Message: "a ping was answered; the " + f.name + " transport has no brokers to look at"}
}
