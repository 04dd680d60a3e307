//go:build wireinject

package main

import (
	"context"
	"log/slog"

	"github.com/google/wire"

	"github.com/trunkline/trunkline"
)

// assemble returns the program. It lists the providers instead of trunkline.Set, because
// the program has a registry and a server of its own: with the set, wire would report
// multiple bindings.
func assemble(ctx context.Context, cfg trunkline.Config, log *slog.Logger, opts ...trunkline.Option) (*trunkline.App, func(), error) {
	panic(wire.Build(
		trunkline.AppSet,
		trunkline.NewBus, trunkline.NewClient, trunkline.NewMonitor, trunkline.NewChecker, trunkline.NewProbeServer,
		newRegistry, newServer,
	))
}
