//go:build wireinject

package main

import (
	"context"
	"log/slog"

	"github.com/google/wire"

	"github.com/trunkline/trunkline"
)

// assemble returns the program. The cleanup closes the parts that App.Run did not close.
func assemble(ctx context.Context, cfg trunkline.Config, log *slog.Logger, opts ...trunkline.Option) (*trunkline.App, func(), error) {
	panic(wire.Build(trunkline.Set))
}
