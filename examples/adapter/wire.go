//go:build wireinject

package main

import (
	"log/slog"

	"github.com/google/wire"

	"github.com/trunkline/trunkline"
	"github.com/trunkline/trunkline/examples/devices"
	"github.com/trunkline/trunkline/transport/kafka"
)

// assemble makes the program. The cleanup undoes what App.Run did not get to close.
func assemble(log *slog.Logger, cfg trunkline.Config, adapter devices.AdapterConfig) (*program, func(), error) {
	panic(wire.Build(
		devices.KafkaConfig, kafka.Set,
		trunkline.TransportSet,
		devices.NewAdapter,
		wire.Struct(new(program), "*"),
	))
}
