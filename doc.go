// Package trunkline assembles a program from the other packages of this module: a message
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
// Packages bus, rpc and liveness do not need this package. A program may use them directly.
//
// # Configuration
//
// [LoadConfig] takes each setting from the command line, else from the environment, else
// from a file. A program may have an environment prefix of its own, see [EnvPrefix].
// LoadConfig logs a warning for each variable that has the prefix and is not a setting.
// There is no default bus: a program whose URL is missing or misspelled does not start.
//
// Secrets are never flags. They come from the environment or from files, and a [Config] and
// a [Secret] do not print them.
//
// # Extending an App
//
// An [Option] passes options to a part of the App: interceptors, hooks, tracing, discovery,
// rules of readiness. A [Part] runs with the App: pass it to [App.Run], or add it with a name
// and a service in the probe registry with [App.Add]. The Run method of a managed consumer
// is a Part, and [ServerPart] makes one of an HTTP or gRPC server:
//
//	app.Add("billing", billing.Run)
//
// Package grpcprobe connects a gRPC server to the probe registry; examples/devices shows
// it. Packages busotel, rpcotel and livenessotel add traces and metrics; this package does
// not link OpenTelemetry.
//
// # Life cycle
//
// [App.Run] serves until its context ends, and then shuts down in order: first the probes
// report that the program is not ready, so that it gets no further work; then the parts
// end; then the App closes what they use. [App.Shutdown] and [App.Close] end an App from
// elsewhere. An App installs no signal handlers.
//
// The probe registry has the services [BusService], [AppService], [ServerService] if the
// program uses [App.Serve], and [CheckService] if the Config asks for checks. The program
// is ready while all services are.
//
// # google/wire
//
// The providers ([NewBus], [NewServer] and the others) are plain constructors with a cleanup.
// The file wire.go has sets of them: Set opens the bus from the Config; TransportSet takes a
// driver.Transport instead; PartsSet takes a *bus.Bus. The sets exist only with the build
// tag wireinject, so that no program links google/wire.
//
//	//go:build wireinject
//
//	func assemble(ctx context.Context, cfg trunkline.Config, log *slog.Logger, opts ...trunkline.Option) (*trunkline.App, func(), error) {
//		panic(wire.Build(trunkline.Set))
//	}
//
// To replace a provider, list AppSet and the other providers instead of a set, because wire
// reports an error for two providers of one type; examples/assembly shows it.
package trunkline
