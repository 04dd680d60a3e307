package trunkline

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"time"

	"github.com/trunkline/trunkline/bus"
	"github.com/trunkline/trunkline/bus/driver"
	"github.com/trunkline/trunkline/liveness"
	"github.com/trunkline/trunkline/liveness/probe"
	"github.com/trunkline/trunkline/rpc"
)

// This file holds the providers: one constructor for each part of an App. They are the
// providers of the sets in wire.go, and New calls them.

// NewLogger returns a logger that writes records of Config.LogLevel and above to standard
// error, with Config.Service as the attribute program. No provider set contains NewLogger,
// because programs have their own loggers.
func NewLogger(c Config) *slog.Logger {
	return slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: c.LogLevel})).With("program", c.Service)
}

// NewRegistry returns the probe registry. Its service AppService is Preparing until App.Run,
// so that the program is not ready before that.
func NewRegistry(opts ...Option) (*probe.Registry, error) {
	o, err := newOptions(opts)
	if err != nil {
		return nil, err
	}
	reg := probe.New(o.registry...)
	reg.Update(AppService, probe.Preparing, nil)
	return reg, nil
}

// NewBus returns the bus at Config.BusURL, with the security of Config.Kafka. It does not
// wait for a broker. The cleanup closes the bus within Config.ShutdownTimeout.
//
// It returns a *ConfigError if the URL is invalid, if the transport does not support a setting
// of Config.Kafka, or if the URL and Config.Kafka set the same parameter.
func NewBus(ctx context.Context, c Config, l *slog.Logger, opts ...Option) (*bus.Bus, func(), error) {
	o, err := newOptions(opts)
	if err != nil {
		return nil, nil, err
	}
	if o.transport != nil {
		return newBusOn(o.transport, c, l, o)
	}
	u, err := c.url()
	if err != nil {
		return nil, nil, err
	}
	l = o.loggerOr(l)
	b, err := bus.OpenURL(ctx, u, o.busOptions(c, l)...)
	if err != nil {
		return nil, nil, c.openError(err)
	}
	return b, cleanup(l, "bus", b.Close), nil
}

// NewBusOn returns the bus on t, and takes ownership of t. The cleanup closes both within
// Config.ShutdownTimeout.
func NewBusOn(t driver.Transport, c Config, l *slog.Logger, opts ...Option) (*bus.Bus, func(), error) {
	o, err := newOptions(opts)
	if err != nil {
		return nil, nil, err
	}
	if o.transport != nil && o.transport != t {
		return nil, nil, errors.New("trunkline: NewBusOn: WithTransport names another transport: remove it, or use NewBus")
	}
	return newBusOn(t, c, l, o)
}

func newBusOn(t driver.Transport, c Config, l *slog.Logger, o *options) (*bus.Bus, func(), error) {
	l = o.loggerOr(l)
	b, err := bus.New(t, o.busOptions(c, l)...)
	if err != nil {
		return nil, nil, err
	}
	return b, cleanup(l, "bus", b.Close), nil
}

func (o *options) busOptions(c Config, l *slog.Logger) []bus.Option {
	return append([]bus.Option{bus.WithLogger(l), bus.WithCloseTimeout(c.ShutdownTimeout)}, o.bus...)
}

// url returns BusURL with the parameters and credentials of Kafka.
func (c Config) url() (*driver.URL, error) {
	u, err := driver.ParseURL(c.BusURL)
	if err != nil {
		return nil, &ConfigError{Field: "BusURL", Reason: "is not valid: set -bus", Err: err}
	}
	k := c.Kafka
	if err := k.validate(DefaultEnvPrefix); err != nil {
		return nil, err
	}
	tls := ""
	if k.TLS {
		tls = "true"
	}
	for _, p := range [][2]string{{"tls", tls}, {"ca", k.CAFile}, {"cert", k.CertFile}, {"key", k.KeyFile},
		{"server_name", k.ServerName}, {"sasl", k.mechanism()}, {"user", k.User}} {
		if p[1] == "" {
			continue
		}
		if err := u.Set(p[0], p[1]); err != nil {
			return nil, &ConfigError{Field: "Kafka", Reason: "and BusURL set the same parameter: remove one of them", Err: err}
		}
	}
	if k.hasSecret() {
		u.SetCredential("password", k.ReadPassword)
	}
	return u, nil
}

// openError returns the error of opening the bus: a *ConfigError if the URL is wrong.
func (c Config) openError(err error) error {
	switch {
	case bus.CodeOf(err) != bus.CodeInvalidArgument:
		return err
	case c.Kafka.Enabled():
		return &ConfigError{Field: "BusURL", Reason: "cannot be opened with the security of the -kafka flags", Err: err}
	default:
		return &ConfigError{Field: "BusURL", Reason: "cannot be opened: set -bus", Err: err}
	}
}

// NewClient returns the RPC client. Config.Service is its name. The cleanup closes it.
func NewClient(c Config, b *bus.Bus, l *slog.Logger, opts ...Option) (*rpc.Client, func(), error) {
	o, err := newOptions(opts)
	if err != nil {
		return nil, nil, err
	}
	l = o.loggerOr(l)
	own := []rpc.ClientOption{rpc.WithName(c.Service), rpc.WithLogger(l), rpc.WithCloseTimeout(c.ShutdownTimeout)}
	client, err := rpc.NewClient(b, append(own, o.client...)...)
	if err != nil {
		return nil, nil, err
	}
	return client, cleanup(l, "RPC client", client.Close), nil
}

// NewServer returns the RPC server. It is discoverable, unless [WithoutDiscovery] is set.
// The cleanup shuts it down within Config.ShutdownTimeout.
func NewServer(c Config, b *bus.Bus, l *slog.Logger, opts ...Option) (*rpc.Server, func(), error) {
	o, err := newOptions(opts)
	if err != nil {
		return nil, nil, err
	}
	l = o.loggerOr(l)
	own := []rpc.ServerOption{rpc.WithLogger(l), rpc.WithCloseTimeout(c.ShutdownTimeout)}
	if !o.noDiscovery {
		own = append(own, rpc.WithDiscovery())
	}
	server, err := rpc.NewServer(b, append(own, o.server...)...)
	if err != nil {
		return nil, nil, err
	}
	return server, cleanup(l, "RPC server", server.Close), nil
}

// NewMonitor starts the monitor of the bus. It reports to reg as the service BusService,
// which is ready while the broker answers and every subscription of the bus is assigned.
// The cleanup closes it.
func NewMonitor(c Config, b *bus.Bus, reg *probe.Registry, l *slog.Logger, opts ...Option) (*liveness.Monitor, func(), error) {
	o, err := newOptions(opts)
	if err != nil {
		return nil, nil, err
	}
	l = o.loggerOr(l)
	own := []liveness.Option{liveness.WithLogger(l), liveness.WithLiveInterval(c.LiveInterval), liveness.WithNotLiveInterval(c.NotLiveInterval)}
	m, err := liveness.Attach(b, reg, append(own, o.monitor...)...)
	if err != nil {
		return nil, nil, err
	}
	return m, cleanup(l, "monitor", m.Close), nil
}

// NewChecker starts the checker of the brokers and of Config.CheckTopics. It reports to reg
// as the service CheckService. NewChecker returns a nil checker if neither Config.CheckTopics
// nor Config.CheckMinBrokers is set. The cleanup closes the checker.
func NewChecker(c Config, b *bus.Bus, reg *probe.Registry, l *slog.Logger, opts ...Option) (*liveness.Checker, func(), error) {
	o, err := newOptions(opts)
	if err != nil {
		return nil, nil, err
	}
	if len(c.CheckTopics) == 0 && c.CheckMinBrokers == 0 {
		return nil, func() {}, nil
	}
	l = o.loggerOr(l)
	own := []liveness.CheckerOption{liveness.WithLogger(l)}
	checker, err := liveness.AttachChecker(b, reg, liveness.CheckSpec{Topics: c.CheckTopics, MinBrokers: c.CheckMinBrokers}, append(own, o.checker...)...)
	if err != nil {
		return nil, nil, err
	}
	return checker, cleanup(l, "checker", checker.Close), nil
}

// NewProbeServer returns the HTTP server of the probes, which listens on Config.ProbeAddr.
// The server answers requests once App.Run is called. The cleanup closes it.
func NewProbeServer(c Config, reg *probe.Registry, l *slog.Logger, opts ...Option) (*probe.Server, func(), error) {
	o, err := newOptions(opts)
	if err != nil {
		return nil, nil, err
	}
	l = o.loggerOr(l)
	s, err := probe.NewServer(c.ProbeAddr, reg, append([]probe.ServerOption{probe.WithLogger(l)}, o.probe...)...)
	if err != nil {
		return nil, nil, err
	}
	return s, cleanup(l, "probe server", s.Close), nil
}

// cleanup returns the cleanup function of a part. The function logs the error of closePart,
// because it cannot return it. App.Run closes every part and returns the errors, so a cleanup
// after it has no effect.
func cleanup(l *slog.Logger, part string, closePart func() error) func() {
	return func() {
		if err := closePart(); err != nil {
			l.Warn("a part of the program did not close cleanly", "part", part, "error", err)
		}
	}
}

// closeTransport closes a transport that no bus owns.
func closeTransport(t driver.Transport) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	_ = t.Close(ctx) // the caller returns the error that prevented the bus
}
