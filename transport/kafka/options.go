package kafka

import (
	"context"
	"crypto/tls"
	"log/slog"
	"net"
	"time"

	"github.com/IBM/sarama"

	"github.com/trunkline/trunkline/bus/driver"
)

// Option configures a transport. See [New].
type Option func(*options) error

type dialFunc func(ctx context.Context, network, addr string) (net.Conn, error)

type options struct {
	clientID     string
	version      sarama.KafkaVersion
	marshaler    Marshaler
	byTopic      map[string]Marshaler
	dial         dialFunc
	tls          *tlsSource // nil for plain text
	login        *saslLogin // nil for no SASL
	logger       *slog.Logger
	tune         []func(*sarama.Config)
	times        Timeouts
	reconnectMin time.Duration
	reconnectMax time.Duration
	producer     producerOptions
	consumer     consumerOptions
	// insecureSASL allows PLAIN and OAUTHBEARER without TLS.
	insecureSASL   bool
	saslExtensions map[string]string
}

// Timeouts limits how long the transport waits. A field that is 0 keeps its default.
type Timeouts struct {
	// Dial limits the time to open a connection, including the TLS handshake. The default
	// is 2 s.
	Dial time.Duration
	// Request limits the wait for the answer to a request. It bounds how long a broker can
	// block its clients if it stops answering but does not close its connections. Brokers
	// have four fifths of it to collect the acknowledgements for a produce request. The
	// default is 3 s.
	Request time.Duration
	// PublishWait limits how long Publish waits for a connection while there is none. The
	// message then fails with Unavailable. The default is 2 s.
	PublishWait time.Duration
	// KeepAlive is the longest time that the transport waits without traffic before it
	// probes a broker. The transport detects at once when a connection in use fails. The
	// default is 1 s.
	KeepAlive time.Duration
	// Refresh is the interval between metadata requests, and so the longest time until the
	// transport notices a new partition. The default is 10 s.
	Refresh time.Duration
	// Rebalance limits how long the members of a group may take to release their partitions.
	// The handlers of a revoked partition must end within this time. The default is 30 s.
	Rebalance time.Duration
	// Session is the time after which a group removes a silent member. The default is
	// 10 s.
	Session time.Duration
	// Heartbeat is the interval between the heartbeats of a group member, and so the
	// longest time until the member notices a rebalance. It is at most a quarter of
	// Session. The default is 1 s.
	Heartbeat time.Duration
}

func defaults() *options {
	return &options{
		clientID:     "trunkline",
		version:      sarama.V2_8_0_0,
		byTopic:      make(map[string]Marshaler),
		logger:       slog.Default(),
		reconnectMin: 100 * time.Millisecond,
		reconnectMax: 5 * time.Second,
		dial:         (&net.Dialer{KeepAlive: 15 * time.Second}).DialContext,
		times: Timeouts{
			Dial: 2 * time.Second, Request: 3 * time.Second, PublishWait: 2 * time.Second, KeepAlive: time.Second,
			Refresh: 10 * time.Second, Rebalance: 30 * time.Second, Session: 10 * time.Second, Heartbeat: time.Second,
		},
		producer: producerOptions{maxBytes: 1 << 20, deliveryTimeout: 30 * time.Second},
		consumer: consumerOptions{fetch: Fetch{MinBytes: 1, Bytes: 1 << 20, Wait: 250 * time.Millisecond}},
	}
}

func invalid(reason string) error { return invalidBecause(reason, nil) }

func invalidBecause(reason string, err error) error {
	return failCode(driver.CodeInvalidArgument, "open", "", reason, err)
}

// WithClientID sets the client ID that brokers use in their logs and quotas. It must not
// be empty. The default is "trunkline".
func WithClientID(id string) Option {
	return func(o *options) error {
		if id == "" {
			return invalid("client ID must not be empty")
		}
		o.clientID = id
		return nil
	}
}

// WithVersion sets the newest version of Kafka whose requests the transport uses. It must
// be at least 0.11, because earlier versions have no record headers. The default is
// 2.8.0, which brokers from 2.8 to 4.x understand.
func WithVersion(v sarama.KafkaVersion) Option {
	return func(o *options) error {
		if !v.IsAtLeast(sarama.V0_11_0_0) {
			return invalid("Kafka version must be at least 0.11.0.0, because earlier versions have no record headers; got " + v.String())
		}
		o.version = v
		return nil
	}
}

// WithMarshaler sets how messages become records and records become messages, for topics
// without a marshaler of their own. Each MarshalerUnmarshaler of watermill-kafka is a
// [Marshaler]. The default writes the format of watermill-kafka's DefaultMarshaler, and
// also writes the message's key as the record's key.
func WithMarshaler(m Marshaler) Option {
	return func(o *options) error {
		if m == nil {
			return invalid("marshaler must not be nil")
		}
		o.marshaler = m
		return nil
	}
}

// WithTopicMarshaler sets the marshaler for one topic.
func WithTopicMarshaler(topic string, m Marshaler) Option {
	return func(o *options) error {
		if topic == "" || m == nil {
			return invalid("topic marshaler: the topic must not be empty and the marshaler must not be nil")
		}
		o.byTopic[topic] = m
		return nil
	}
}

// WithDialer sets the function that opens connections to brokers. addr is the address that
// the broker advertises. dial must return when ctx ends and must be safe for concurrent
// use. The transport adds TLS to the connection.
func WithDialer(dial func(ctx context.Context, network, addr string) (net.Conn, error)) Option {
	return func(o *options) error {
		if dial == nil {
			return invalid("dialer must not be nil")
		}
		o.dial = dial
		return nil
	}
}

// WithTimeouts sets each time-out that is not 0. A time-out must be at least 10 ms.
func WithTimeouts(t Timeouts) Option {
	return func(o *options) error {
		for _, f := range []struct {
			name     string
			to, from *time.Duration
		}{
			{"Dial", &o.times.Dial, &t.Dial}, {"Request", &o.times.Request, &t.Request},
			{"PublishWait", &o.times.PublishWait, &t.PublishWait}, {"KeepAlive", &o.times.KeepAlive, &t.KeepAlive},
			{"Refresh", &o.times.Refresh, &t.Refresh}, {"Rebalance", &o.times.Rebalance, &t.Rebalance},
			{"Session", &o.times.Session, &t.Session}, {"Heartbeat", &o.times.Heartbeat, &t.Heartbeat},
		} {
			if *f.from < 0 || (*f.from > 0 && *f.from < 10*time.Millisecond) {
				return invalid("time-outs: " + f.name + " must be 0 for the default, or at least 10ms; got " + f.from.String())
			}
			if *f.from > 0 {
				*f.to = *f.from
			}
		}
		return nil
	}
}

// WithReconnect sets the shortest and the longest pause between attempts to connect before
// the first connection. The pause doubles, with jitter. After a lost connection the pause
// is at most 1 s, so that the transport notices quickly when a broker is available again.
// The default is from 100 ms to 5 s.
func WithReconnect(shortest, longest time.Duration) Option {
	return func(o *options) error {
		if shortest <= 0 || longest < shortest {
			return invalid("reconnect: the shortest pause must be greater than 0, and the longest at least as long; got " +
				shortest.String() + " and " + longest.String())
		}
		o.reconnectMin, o.reconnectMax = shortest, longest
		return nil
	}
}

// WithTLS makes connections use TLS 1.2 or later. It copies cfg. If cfg.ServerName is
// empty, the transport uses the host of the broker's address. See [WithTLSFrom] for
// certificates in files.
func WithTLS(cfg *tls.Config) Option {
	return func(o *options) error {
		if cfg == nil {
			return invalid("TLS configuration must not be nil")
		}
		c := cfg.Clone()
		c.MinVersion = max(c.MinVersion, tls.VersionTLS12)
		if c.MaxVersion != 0 && c.MaxVersion < c.MinVersion {
			return invalid("TLS configuration: MaxVersion must be at least MinVersion and at least TLS 1.2")
		}
		o.tls = &tlsSource{fixed: c}
		return nil
	}
}

// WithLogger sets the logger for conditions that the transport cannot return to a caller,
// such as a failed group session or a committed offset that retention has removed. The
// default is slog.Default().
func WithLogger(l *slog.Logger) Option {
	return func(o *options) error {
		if l == nil {
			return invalid("logger must not be nil")
		}
		o.logger = l
		return nil
	}
}

// WithSaramaConfig adds a function that changes the configuration of every sarama client
// before the client is made. Use it for settings that have no option here. The transport
// then sets what it depends on: acks, idempotence, return channels, manual commits and its
// dialer. If change sets GroupStrategies, these take precedence over [WithBalance]. change
// must be safe for concurrent use.
func WithSaramaConfig(change func(*sarama.Config)) Option {
	return func(o *options) error {
		if change == nil {
			return invalid("sarama configuration function must not be nil")
		}
		o.tune = append(o.tune, change)
		return nil
	}
}
