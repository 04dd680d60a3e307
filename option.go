package trunkline

import (
	"errors"
	"log/slog"

	"github.com/trunkline/trunkline/bus"
	"github.com/trunkline/trunkline/bus/driver"
	"github.com/trunkline/trunkline/liveness"
	"github.com/trunkline/trunkline/liveness/probe"
	"github.com/trunkline/trunkline/rpc"
)

// An Option configures a part of an [App]. [New] and each provider accept all options,
// and apply those of the parts that they make.
//
// These options contain options of the packages bus, rpc and liveness, so that each setting
// has only one name:
//
//	hooks, topic creation      WithBusOptions(bus.WithHooks(…))
//	traces of messages         WithBusOptions(bus.WithHooks(busotel.…))
//	defaults of subscriptions  WithBusOptions(bus.WithSubscribeDefaults(bus.DeadLetterTopic(…)))
//	interceptors, wire format  WithRPCOptions(rpc.WithInterceptors(…))
//	dead letters of the server WithServerOptions(bus.DeadLetterTopic(…))
//	discovery                  WithServerOptions(rpc.WithDiscovery(…)), or WithoutDiscovery
//	rules of readiness         WithRegistryOptions(probe.WithReadyRule(…))
//
// Security of Kafka connections is part of [Config].
type Option func(*options) error

type options struct {
	logger      *slog.Logger
	transport   driver.Transport
	bus         []bus.Option
	client      []rpc.ClientOption
	server      []rpc.ServerOption
	noDiscovery bool
	registry    []probe.Option
	monitor     []liveness.Option
	checker     []liveness.CheckerOption
	probe       []probe.ServerOption
}

func newOptions(opts []Option) (*options, error) {
	o := &options{}
	for _, opt := range opts {
		if err := opt(o); err != nil {
			return nil, err
		}
	}
	return o, nil
}

// WithLogger sets the logger of the App and of all its parts. The default is
// NewLogger(Config) in [New]. A provider uses its logger parameter by default.
func WithLogger(l *slog.Logger) Option {
	return func(o *options) error {
		if l == nil {
			return errors.New("trunkline: WithLogger: the logger must not be nil")
		}
		o.logger = l
		return nil
	}
}

// WithTransport makes the bus use t instead of opening Config.BusURL. The App closes t.
// Config.Kafka has no effect on t.
func WithTransport(t driver.Transport) Option {
	return func(o *options) error {
		if t == nil {
			return errors.New("trunkline: WithTransport: the transport must not be nil")
		}
		o.transport = t
		return nil
	}
}

// WithBusOptions adds options of the bus. It may be used several times.
func WithBusOptions(opts ...bus.Option) Option {
	return func(o *options) error { o.bus = append(o.bus, opts...); return nil }
}

// WithRPCOptions adds options of the RPC client and of the RPC server, such as
// interceptors. It may be used several times.
func WithRPCOptions(opts ...rpc.Option) Option {
	return func(o *options) error {
		for _, opt := range opts {
			o.client, o.server = append(o.client, opt), append(o.server, opt)
		}
		return nil
	}
}

// WithClientOptions adds options of the RPC client. It may be used several times.
func WithClientOptions(opts ...rpc.ClientOption) Option {
	return func(o *options) error { o.client = append(o.client, opts...); return nil }
}

// WithServerOptions adds options of the RPC server. It may be used several times.
func WithServerOptions(opts ...rpc.ServerOption) Option {
	return func(o *options) error { o.server = append(o.server, opts...); return nil }
}

// WithoutDiscovery turns off discovery of the RPC server. By default the server announces
// itself and answers discovery requests, see rpc.WithDiscovery.
func WithoutDiscovery() Option {
	return func(o *options) error { o.noDiscovery = true; return nil }
}

// WithRegistryOptions adds options of the probe registry. It may be used several times.
func WithRegistryOptions(opts ...probe.Option) Option {
	return func(o *options) error { o.registry = append(o.registry, opts...); return nil }
}

// WithMonitorOptions adds options of the monitor of the bus. It may be used several times.
func WithMonitorOptions(opts ...liveness.Option) Option {
	return func(o *options) error { o.monitor = append(o.monitor, opts...); return nil }
}

// WithCheckerOptions adds options of the checker. It may be used several times. It has no
// effect if the Config sets neither CheckTopics nor CheckMinBrokers.
func WithCheckerOptions(opts ...liveness.CheckerOption) Option {
	return func(o *options) error { o.checker = append(o.checker, opts...); return nil }
}

// WithProbeOptions adds options of the HTTP server of the probes. It may be used several
// times.
func WithProbeOptions(opts ...probe.ServerOption) Option {
	return func(o *options) error { o.probe = append(o.probe, opts...); return nil }
}

// loggerOr returns the logger of WithLogger if it is set, otherwise l if it is not nil, and
// otherwise slog.Default().
func (o *options) loggerOr(l *slog.Logger) *slog.Logger {
	switch {
	case o.logger != nil:
		return o.logger
	case l != nil:
		return l
	default:
		return slog.Default()
	}
}
