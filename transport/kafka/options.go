package kafka

import (
	"crypto/tls"
	"log/slog"
	"net"
	"time"

	"github.com/IBM/sarama"

	"github.com/trunkline/trunkline/bus/driver"
)

// Option configures a transport. The zero set of options is the safe one.
type Option func(*options) error

type options struct {
	clientID   string
	version    sarama.KafkaVersion
	marshaler  Marshaler
	byTopic    map[string]Marshaler
	dial       DialFunc
	tls        *encryption
	login      *login
	logger     *slog.Logger
	tune       []func(*sarama.Config)
	times      Timeouts
	backoffMin time.Duration
	backoffMax time.Duration
	publishing publishing
	consuming  consuming
	// insecureSASL lets secrets be sent without TLS.
	insecureSASL bool
}

// Timeouts bounds what the transport waits for. A field that is 0 keeps its default.
type Timeouts struct {
	// Dial is for making a connection, its TLS handshake included: 2 s.
	Dial time.Duration
	// Request is for the answer to a request: 3 s. It decides how long a broker that
	// has stopped answering, without closing its connections, stalls its clients.
	// Brokers get four fifths of it to collect the acknowledgements of a produce request.
	Request time.Duration
	// Room is how long Publish waits for a connection, when there is none, before it
	// gives a message up as Unavailable: 2 s.
	Room time.Duration
	// KeepAlive is how soon, at the latest, a transport without traffic makes sure that
	// a broker still answers: 1 s. Connections that fail in use are noticed at once.
	KeepAlive time.Duration
	// Refresh is how often metadata is asked for again, and so how soon a partition
	// that was added is noticed: 10 s.
	Refresh time.Duration
	// Rebalance is how long the members of a group have to give their partitions up,
	// and so how long a revoked claim waits for its handlers: 30 s.
	Rebalance time.Duration
	// Session is how long a group waits for a silent member: 10 s.
	Session time.Duration
	// Heartbeat is how often a member says that it is there, and so how soon it learns
	// of a rebalance: 1 s, and at most a quarter of Session.
	Heartbeat time.Duration
}

func defaults() *options {
	return &options{
		clientID:   "trunkline",
		version:    sarama.V2_8_0_0,
		byTopic:    make(map[string]Marshaler),
		logger:     slog.New(slog.DiscardHandler),
		backoffMin: 100 * time.Millisecond,
		backoffMax: 5 * time.Second,
		dial:       (&net.Dialer{KeepAlive: 15 * time.Second}).DialContext,
		times: Timeouts{
			Dial: 2 * time.Second, Request: 3 * time.Second, Room: 2 * time.Second, KeepAlive: time.Second,
			Refresh: 10 * time.Second, Rebalance: 30 * time.Second, Session: 10 * time.Second, Heartbeat: time.Second,
		},
		publishing: publishing{maxBytes: 1 << 20, delivery: 30 * time.Second},
		consuming:  consuming{fetch: Fetch{MinBytes: 1, Bytes: 1 << 20, Wait: 250 * time.Millisecond}},
	}
}

func invalid(reason string) error { return invalidBecause(reason, nil) }

func invalidBecause(reason string, err error) error {
	return failCode(driver.CodeInvalidArgument, "open", "", reason, err)
}

// WithClientID sets the name the brokers see in their logs and quotas: "trunkline".
func WithClientID(id string) Option {
	return func(o *options) error {
		if id == "" {
			return invalid("the client id is empty")
		}
		o.clientID = id
		return nil
	}
}

// WithVersion sets the newest version of Kafka whose requests are used: 2.8.0, which
// brokers from 2.8 to 4.x understand. Versions before 0.11 have no record headers
// and are refused.
func WithVersion(v sarama.KafkaVersion) Option {
	return func(o *options) error {
		if !v.IsAtLeast(sarama.V0_11_0_0) {
			return invalid("the Kafka version must be at least 0.11.0.0, record headers are needed")
		}
		o.version = v
		return nil
	}
}

// WithMarshaler sets how messages become records and back, for the topics that have
// no marshaler of their own. Any MarshalerUnmarshaler of watermill-kafka is one. The
// default writes what watermill-kafka's DefaultMarshaler writes, and the key natively.
func WithMarshaler(m Marshaler) Option {
	return func(o *options) error {
		if m == nil {
			return invalid("the marshaler is nil")
		}
		o.marshaler = m
		return nil
	}
}

// WithTopicMarshaler sets the marshaler of one topic.
func WithTopicMarshaler(topic string, m Marshaler) Option {
	return func(o *options) error {
		if topic == "" || m == nil {
			return invalid("a topic's marshaler needs a topic and a marshaler")
		}
		o.byTopic[topic] = m
		return nil
	}
}

// WithDialer sets how connections to brokers are made, at the addresses that the
// brokers advertise. TLS goes on top of it.
func WithDialer(dial DialFunc) Option {
	return func(o *options) error {
		if dial == nil {
			return invalid("the dialer is nil")
		}
		o.dial = dial
		return nil
	}
}

// WithDialTimeout bounds how long making a connection may take: 2 s.
func WithDialTimeout(d time.Duration) Option { return WithTimeouts(Timeouts{Dial: d}) }

// WithTimeouts sets those of the timeouts that are not 0.
func WithTimeouts(t Timeouts) Option {
	return func(o *options) error {
		for _, f := range []struct{ to, from *time.Duration }{
			{&o.times.Dial, &t.Dial}, {&o.times.Request, &t.Request}, {&o.times.Room, &t.Room},
			{&o.times.KeepAlive, &t.KeepAlive}, {&o.times.Refresh, &t.Refresh},
			{&o.times.Rebalance, &t.Rebalance}, {&o.times.Session, &t.Session}, {&o.times.Heartbeat, &t.Heartbeat},
		} {
			if *f.from < 0 || (*f.from > 0 && *f.from < 10*time.Millisecond) {
				return invalid("a timeout is below 10ms")
			}
			if *f.from > 0 {
				*f.to = *f.from
			}
		}
		return nil
	}
}

// WithReconnect sets the bounds of the waits between attempts to reach a broker that
// was never reached yet: from 100 ms, doubling with jitter, to 5 s. After a lost
// connection they stay below 1 s, so that a broker's return is noticed.
func WithReconnect(least, most time.Duration) Option {
	return func(o *options) error {
		if least <= 0 || most < least {
			return invalid("the reconnect back-off needs 0 < min <= max")
		}
		o.backoffMin, o.backoffMax = least, most
		return nil
	}
}

// WithTLS makes connections use TLS, 1.2 or later. The configuration is copied, and its
// ServerName is the name that a broker is connected to by, unless it is set. See
// [WithTLSFrom] for certificates in files.
func WithTLS(cfg *tls.Config) Option {
	return func(o *options) error {
		if cfg == nil {
			return invalid("the TLS configuration is nil")
		}
		c := cfg.Clone()
		c.MinVersion = max(c.MinVersion, tls.VersionTLS12)
		if c.MaxVersion != 0 && c.MaxVersion < c.MinVersion {
			return invalid("TLS below 1.2 is refused")
		}
		o.tls = &encryption{fixed: c}
		return nil
	}
}

// WithLogger sets where the transport says what is not an error of any call: a
// rejoin, a position that retention has passed. The default discards it.
func WithLogger(l *slog.Logger) Option {
	return func(o *options) error {
		if l == nil {
			return invalid("the logger is nil")
		}
		o.logger = l
		return nil
	}
}

// WithSaramaConfig changes the configuration of every sarama client just before it
// is made: the way to what has no option of its own. What the transport relies on
// (acks, idempotence, return channels, manual commits, its dialer) is set after it.
// GroupStrategies that it sets come before [WithBalance].
func WithSaramaConfig(change func(*sarama.Config)) Option {
	return func(o *options) error {
		if change == nil {
			return invalid("the sarama configuration function is nil")
		}
		o.tune = append(o.tune, change)
		return nil
	}
}
