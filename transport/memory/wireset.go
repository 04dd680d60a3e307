//go:build wireinject

package memory

import (
	"github.com/google/wire"

	"github.com/trunkline/trunkline/bus/driver"
)

// Set provides a driver.Transport on a *[Log], for google/wire. Transports on the same log
// exchange messages. It exists only with the build tag wireinject, which the wire command
// sets, so that no program links google/wire.
var Set = wire.NewSet(NewTransport, wire.Bind(new(driver.Transport), new(*Transport)))
