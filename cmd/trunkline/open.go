package main

import (
	"context"
	"log/slog"

	"github.com/trunkline/trunkline/bus"
	_ "github.com/trunkline/trunkline/transport/kafka"  // the scheme kafka
	_ "github.com/trunkline/trunkline/transport/memory" // the scheme memory
)

// openBus opens the bus of a command. The bus logs nothing, because a command prints its own
// errors. Some warnings would also be wrong: the dlq commands return an error for a letter that
// they leave in the topic, and the bus would log that the message may be lost.
func openBus(ctx context.Context, url string) (*bus.Bus, error) {
	return bus.Open(ctx, url, bus.WithLogger(slog.New(slog.DiscardHandler)))
}
