//go:build wireinject

package main

import (
	"context"
	"log/slog"

	"github.com/google/wire"

	"github.com/trunkline/trunkline"
)

// assemble makes the program. The cleanup undoes what App.Run did not get to close.
func assemble(ctx context.Context, cfg trunkline.Config, log *slog.Logger) (*trunkline.App, func(), error) {
	panic(wire.Build(trunkline.Set))
}
