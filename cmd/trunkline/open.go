package main

import (
	"context"
	"log/slog"

	"github.com/trunkline/trunkline/bus"
	_ "github.com/trunkline/trunkline/transport/kafka"  // the scheme kafka
	_ "github.com/trunkline/trunkline/transport/memory" // the scheme memory
)

// openBus opens the bus of a command. It logs nothing: a command prints its own errors, and
// holding a dead letter, for example, would log a warning for a message that is not lost.
func openBus(ctx context.Context, url string) (*bus.Bus, error) {
	return bus.Open(ctx, url, bus.WithLogger(slog.New(slog.DiscardHandler)))
}
