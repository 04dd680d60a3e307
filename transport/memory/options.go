package memory

import (
	"time"

	"github.com/trunkline/trunkline/bus/driver"
)

// The defaults of the options.
const (
	// DefaultPartitions is how many partitions a topic gets when its spec names none.
	DefaultPartitions = 1
	// DefaultMaxRecords is how many records a partition keeps.
	DefaultMaxRecords = 65_536
	// DefaultMaxBytes is how many bytes a partition keeps: keys, payloads, header
	// names and values.
	DefaultMaxBytes = 64 << 20
	// DefaultRevokeTimeout is how long a revoked claim may go on committing.
	DefaultRevokeTimeout = 10 * time.Second
)

// maxPartitions keeps a slip of the pen from eating the machine.
const maxPartitions = 100_000

// Option sets something about a log, or says which log a transport is on.
type Option func(*config)

type config struct {
	settings
	log    *Log
	logSet bool
	// logOption names the first option given that is about a log.
	logOption string
	err       error
}

// settings are those of a log; a topic starts with a copy.
type settings struct {
	partitions    int32
	revokeTimeout time.Duration
	limits
}

// limits bound one partition.
type limits struct {
	maxRecords int
	maxBytes   int64
	maxAge     time.Duration
	// compact: only the latest record of each key is kept, a tombstone for so long.
	compact    bool
	tombstones time.Duration
}

// WithLog puts the transport on a log that others are on too: they are then like
// clients of one broker. Options about a log belong to NewLog and are refused
// beside it. It is for New only.
func WithLog(l *Log) Option {
	return func(c *config) { c.log, c.logSet = l, true }
}

// WithPartitions sets how many partitions a topic gets whose spec names no number,
// 1 to 100,000. The default is [DefaultPartitions].
func WithPartitions(n int32) Option {
	return logOption("WithPartitions", n >= 1 && n <= maxPartitions, "from 1 to 100000", func(c *config) { c.partitions = n })
}

// WithMaxRecords sets how many records a partition keeps, at least 1. The default
// is [DefaultMaxRecords]. A topic can have its own: see [Transport.CreateTopic].
func WithMaxRecords(n int) Option {
	return logOption("WithMaxRecords", n >= 1, "at least 1", func(c *config) { c.maxRecords = n })
}

// WithMaxBytes sets how many bytes a partition keeps, at least 1: keys, payloads,
// header names and values. It is the size of the largest message too. The default
// is [DefaultMaxBytes].
func WithMaxBytes(n int64) Option {
	return logOption("WithMaxBytes", n >= 1, "at least 1", func(c *config) { c.maxBytes = n })
}

// WithMaxAge has records dropped once their timestamp is older than d, whoever has
// not read them, as Kafka's retention.ms does. The default, 0, keeps them
// whatever their age.
func WithMaxAge(d time.Duration) Option {
	return logOption("WithMaxAge", d >= 0, "0 or more", func(c *config) { c.maxAge = d })
}

// WithRevokeTimeout sets how long the next owner of a partition waits for the one
// it was taken from, more than 0. The default is [DefaultRevokeTimeout].
func WithRevokeTimeout(d time.Duration) Option {
	return logOption("WithRevokeTimeout", d > 0, "more than 0", func(c *config) { c.revokeTimeout = d })
}

func logOption(name string, ok bool, want string, set func(*config)) Option {
	return func(c *config) {
		if c.logOption == "" {
			c.logOption = name
		}
		if !ok && c.err == nil {
			c.err = invalid("open", "", name+" takes a value "+want)
		}
		set(c)
	}
}

func configure(opts []Option) (config, error) {
	c := config{settings: settings{
		partitions:    DefaultPartitions,
		revokeTimeout: DefaultRevokeTimeout,
		limits:        limits{maxRecords: DefaultMaxRecords, maxBytes: DefaultMaxBytes, tombstones: DefaultTombstoneRetention},
	}}
	for _, o := range opts {
		o(&c)
	}
	return c, c.err
}

func invalid(op, topic, reason string) *driver.Error {
	return failure(driver.CodeInvalidArgument, op, topic, reason, nil)
}

func failure(code driver.Code, op, topic, reason string, cause error) *driver.Error {
	return &driver.Error{Code: code, Op: op, Transport: name, Topic: topic, Reason: reason, Err: cause}
}
