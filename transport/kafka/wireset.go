//go:build wireinject

package kafka

import (
	googlewire "github.com/google/wire" // this package has a type named wire

	"github.com/trunkline/trunkline/bus/driver"
)

// Set provides a driver.Transport from a [Config], for google/wire.
// It exists only with the build tag wireinject, which the wire command sets, so that
// no program links google/wire.
var Set = googlewire.NewSet(NewTransport, googlewire.Bind(new(driver.Transport), new(*Transport)))
