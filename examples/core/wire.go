//go:build wireinject

package main

import (
	"context"
	"log/slog"

	"github.com/google/wire"

	"github.com/trunkline/trunkline"
	"github.com/trunkline/trunkline/examples/devices"
)

// assemble returns the program. The cleanup closes the parts that App.Run did not close.
func assemble(ctx context.Context, cfg trunkline.Config, log *slog.Logger, core devices.CoreConfig, opts ...trunkline.Option) (*program, func(), error) {
	panic(wire.Build(
		trunkline.Set,
		devices.NewCore, newNorthbound,
		wire.Struct(new(program), "*"),
	))
}
