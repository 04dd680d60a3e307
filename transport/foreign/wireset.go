//go:build wireinject

package foreign

import (
	"github.com/google/wire"

	"github.com/trunkline/trunkline/bus/driver"
)

// Set provides a driver.Transport from a message.Publisher, a
// message.Subscriber and [Options], which declare what the two support, for google/wire.
// It exists only with the build tag wireinject, which the wire command sets, so that
// no program links google/wire.
var Set = wire.NewSet(NewTransport, wire.Bind(new(driver.Transport), new(*Transport)))
