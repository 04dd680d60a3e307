//go:build wireinject

package memory

import (
	"github.com/google/wire"

	"github.com/trunkline/trunkline/bus/driver"
)

// Set provides a driver.Transport on a *[Log], for google/wire. Injectors that are given the same log make
// programs that exchange messages.
// It exists only with the build tag wireinject, which the wire command sets, so that
// no program links google/wire.
var Set = wire.NewSet(NewTransport, wire.Bind(new(driver.Transport), new(*Transport)))
