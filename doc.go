// Package trunkline assembles a service from the other packages of this module: a message
// bus, an RPC client and server on it, a monitor of the bus, and HTTP probes.
//
//	cfg, err := trunkline.LoadConfig(flag.CommandLine, os.Args[1:], trunkline.DefaultConfig())
//	if err != nil {
//		log.Fatal(err)
//	}
//	app, err := trunkline.New(ctx, cfg)
//	if err != nil {
//		log.Fatal(err)
//	}
//	rpc.Handle(app.Server, "Greet", greet)
//	err = app.Run(ctx, app.Serve(bus.TopicSpec{Name: "greeter"})) // until ctx ends
//
// The program imports the transports for the bus URLs that it supports:
//
//	import _ "github.com/trunkline/trunkline/transport/kafka"
//
// A program can also use packages bus, rpc and liveness without this package.
//
// # Configuration
//
// [LoadConfig] reads settings from the command line, the environment and a file. The command line
// takes precedence over the environment, and the environment over the file. A program may set its
// own prefix for environment variables with [EnvPrefix]. LoadConfig logs a warning for each
// variable that has the prefix and is not a setting. There is no default bus: LoadConfig or [New]
// returns an error if the bus URL is missing or invalid.
//
// Secrets are never flags. They come from the environment or from files. Printing a [Config] or a
// [Secret] does not reveal them.
//
// # Extending an App
//
// An [Option] passes options to a part of the App: interceptors, hooks, tracing, discovery,
// readiness rules. A [Part] is a function that runs with the App, for example the Run method of a
// managed consumer. Pass it to [App.Run]. If it needs a service in the probe registry, pass it to
// [App.Add] instead. [ServerPart] makes a Part from an HTTP or gRPC server:
//
//	app.Add("billing", billing.Run)
//
// Package grpcprobe connects a gRPC server to the probe registry; examples/devices uses
// it. Packages busotel, rpcotel and livenessotel add traces and metrics; this package does
// not import OpenTelemetry.
//
// # Life cycle
//
// [App.Run] serves until its context ends, and then shuts down in order. First the probes report
// that the program is not ready, so that it gets no new requests. Then the parts end. Then the App
// closes what they use. [App.Shutdown] and [App.Close] end an App from another goroutine. An App
// installs no signal handlers.
//
// The probe registry has the services [BusService], [AppService], [ServerService] if the
// program uses [App.Serve], and [CheckService] if the Config sets CheckTopics or
// CheckMinBrokers. The program is ready while all services are ready.
//
// # google/wire
//
// The providers ([NewBus], [NewServer] and the others) are constructors that also return a cleanup
// function. The file wire.go has provider sets: Set opens the bus from the Config; TransportSet
// takes a driver.Transport instead; PartsSet takes a *bus.Bus. The sets exist only with the build
// tag wireinject, so that no program links google/wire.
//
//	//go:build wireinject
//
//	func assemble(ctx context.Context, cfg trunkline.Config, log *slog.Logger, opts ...trunkline.Option) (*trunkline.App, func(), error) {
//		panic(wire.Build(trunkline.Set))
//	}
//
// To replace a provider, list AppSet and all other providers instead of using a set. With a set,
// wire would report two providers for one type. examples/assembly shows it.
package trunkline
