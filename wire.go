//go:build wireinject

package trunkline

import (
	"github.com/google/wire"
)

// Set provides the whole, for google/wire: from a context.Context, a Config and a
// *slog.Logger an *App, and each of its parts. The bus is opened from Config.BusURL,
// so the program imports the transports it wants for their schemes. The URL then says
// how the connection is secured; with Config.Kafka set it fails rather than ignore that,
// and TransportSet is the one to use.
var Set = wire.NewSet(NewBus, parts)

// TransportSet is Set with a driver.Transport in the place of Config.BusURL; the set
// beside each transport provides one.
//
// The sets exist only with the build tag wireinject, which the wire command sets, so that
// no program links google/wire. A file that names them has the same tag.
var TransportSet = wire.NewSet(NewBusOn, parts)

var parts = wire.NewSet(
	NewRegistry,
	NewClient, NewServer, NewMonitor, NewChecker, NewProbeServer,
	wire.Struct(new(App), "*"),
)
