package trunkline

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"time"

	"github.com/trunkline/trunkline/bus"
	"github.com/trunkline/trunkline/bus/driver"
	"github.com/trunkline/trunkline/liveness"
	"github.com/trunkline/trunkline/liveness/probe"
	"github.com/trunkline/trunkline/rpc"
)

// NewRegistry makes the probe registry, with the default rules.
func NewRegistry() *probe.Registry { return probe.New() }

// NewLogger logs to standard error what is of Config.LogLevel or above. It is in no
// set: programs have loggers of their own.
func NewLogger(c Config) *slog.Logger {
	return slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: c.LogLevel})).With("service", c.Service)
}

// NewBus opens Config.BusURL. The cleanup closes the bus, for
// Config.ShutdownTimeout at most. It does not wait for a broker.
func NewBus(ctx context.Context, c Config, l *slog.Logger) (*bus.Bus, func(), error) {
	if c.Kafka.Enabled() {
		return nil, nil, &ConfigError{Field: "Kafka", Reason: "is set, and this program opens its bus by the URL alone: say it in parameters of -bus, or make the transport from it, see TransportSet"}
	}
	b, err := bus.Open(ctx, c.BusURL, bus.WithLogger(l), bus.WithCloseTimeout(c.ShutdownTimeout))
	if err != nil {
		return nil, nil, err
	}
	return b, closer(l, "bus", b.Close), nil
}

// NewBusOn makes the bus on t, which it takes over. The cleanup closes both, for Config.ShutdownTimeout at most.
func NewBusOn(t driver.Transport, c Config, l *slog.Logger) (*bus.Bus, func(), error) {
	b, err := bus.New(t, bus.WithLogger(l), bus.WithCloseTimeout(c.ShutdownTimeout))
	if err != nil {
		return nil, nil, err
	}
	return b, closer(l, "bus", b.Close), nil
}

// NewClient makes the RPC client, named Config.Service. The cleanup closes it.
func NewClient(c Config, b *bus.Bus, l *slog.Logger) (*rpc.Client, func(), error) {
	client, err := rpc.NewClient(b, rpc.WithName(c.Service), rpc.WithLogger(l))
	if err != nil {
		return nil, nil, err
	}
	return client, closer(l, "RPC client", client.Close), nil
}

// NewServer makes the RPC server. The cleanup shuts it down, for
// Config.ShutdownTimeout at most.
func NewServer(c Config, b *bus.Bus, l *slog.Logger) (*rpc.Server, func(), error) {
	server, err := rpc.NewServer(b, rpc.WithLogger(l), rpc.WithCloseTimeout(c.ShutdownTimeout))
	if err != nil {
		return nil, nil, err
	}
	return server, closer(l, "RPC server", within(c.ShutdownTimeout, server.Shutdown)), nil
}

// NewMonitor starts the monitor of the bus. It reports to reg as the service BusService,
// which is ready while the broker answers and every subscription is assigned. The cleanup
// closes the monitor.
func NewMonitor(c Config, b *bus.Bus, reg *probe.Registry, l *slog.Logger) (*liveness.Monitor, func(), error) {
	m, err := liveness.Attach(b, reg, liveness.WithLogger(l),
		liveness.WithLiveInterval(c.LiveInterval), liveness.WithNotLiveInterval(c.NotLiveInterval))
	if err != nil {
		return nil, nil, err
	}
	return m, closer(l, "monitor", within(c.ShutdownTimeout, m.Shutdown)), nil
}

// NewChecker starts the checker of the brokers and of Config.CheckTopics. It reports to
// reg as the service CheckService. NewChecker returns nil if the Config asks for neither.
// The cleanup closes the checker.
func NewChecker(c Config, b *bus.Bus, reg *probe.Registry, l *slog.Logger) (*liveness.Checker, func(), error) {
	if len(c.CheckTopics) == 0 && c.CheckMinBrokers == 0 {
		return nil, func() {}, nil
	}
	checker, err := liveness.AttachChecker(b, reg, liveness.CheckSpec{Topics: c.CheckTopics, MinBrokers: c.CheckMinBrokers}, liveness.WithLogger(l))
	if err != nil {
		return nil, nil, err
	}
	return checker, closer(l, "checker", within(c.ShutdownTimeout, checker.Shutdown)), nil
}

// NewProbeServer listens on Config.ProbeAddr. App.Run serves. The cleanup closes it.
func NewProbeServer(c Config, reg *probe.Registry, l *slog.Logger) (*probe.Server, func(), error) {
	s, err := probe.NewServer(c.ProbeAddr, reg, probe.WithLogger(l))
	if err != nil {
		return nil, nil, err
	}
	return s, closer(l, "probe server", s.Close), nil
}

// closer is a cleanup. Cleanups return nothing, so what failed is logged; App.Run has
// closed everything before, and returned what failed.
func closer(l *slog.Logger, what string, close func() error) func() {
	return func() {
		if err := close(); err != nil {
			l.Warn(fmt.Sprintf("the %s did not close cleanly", what), "error", err)
		}
	}
}

func within(d time.Duration, close func(context.Context) error) func() error {
	return func() error {
		ctx, cancel := context.WithTimeout(context.Background(), d)
		defer cancel()
		return close(ctx)
	}
}
