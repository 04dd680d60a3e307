//go:build wireinject

package trunkline

import "github.com/google/wire"

// The sets exist only with the build tag wireinject, which the wire command sets, so that
// no program links google/wire. A file that names a set needs the same tag.

// Set provides an *App and each of its parts, for google/wire. Its inputs are a
// context.Context, a Config, a *slog.Logger and []Option; an injector with the parameter
// opts ...trunkline.Option provides the last one. The bus comes from Config.BusURL and
// Config.Kafka, so the program imports the transports for the schemes that it supports.
var Set = wire.NewSet(NewBus, PartsSet)

// TransportSet is Set with a driver.Transport instead of Config.BusURL and Config.Kafka. The
// set of each transport provides one.
var TransportSet = wire.NewSet(NewBusOn, PartsSet)

// PartsSet is Set without the bus, for a program with a *bus.Bus of its own.
var PartsSet = wire.NewSet(NewRegistry, NewClient, NewServer, NewMonitor, NewChecker, NewProbeServer, AppSet)

// AppSet provides only the *App, from all of its parts. A program replaces a provider by
// naming AppSet, the other providers (NewBus, NewRegistry, NewClient, NewServer,
// NewMonitor, NewChecker, NewProbeServer) and its own, instead of Set.
var AppSet = wire.NewSet(wire.Struct(new(App), "Config", "Logger", "Bus", "Client", "Server", "Monitor", "Checker", "Registry", "Probe"))
