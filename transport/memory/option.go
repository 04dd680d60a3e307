package memory

import (
	"fmt"
	"time"
)

// The defaults of the options.
const (
	defaultPartitions    = 1
	defaultMaxRecords    = 65_536
	defaultMaxBytes      = 64 << 20
	defaultRevokeTimeout = 10 * time.Second
	// defaultTombstoneRetention is how long a compacted topic keeps a tombstone.
	defaultTombstoneRetention = 24 * time.Hour
)

// maxPartitions bounds a topic, so that a mistyped number does not exhaust the memory.
const maxPartitions = 100_000

// Option configures a log, or selects the log of a transport.
type Option func(*config)

type config struct {
	settings
	log    *Log
	logSet bool
	// logOption is the name of the first option that configures a log.
	logOption string
	err       error
}

// settings are the settings of a log. Each topic starts with a copy.
type settings struct {
	partitions    int32
	revokeTimeout time.Duration
	limits
}

// limits bound one partition.
type limits struct {
	maxRecords int
	maxBytes   int64
	maxAge     time.Duration // 0 for no limit
	// compact keeps only the latest record of each key.
	compact bool
	// tombstones is how long a compacted partition keeps a tombstone.
	tombstones time.Duration
}

// WithLog connects the transport to l, as a client connects to a broker. Transports with
// the same log exchange messages. New accepts it, NewLog does not. It cannot be combined
// with options that configure a log.
func WithLog(l *Log) Option {
	return func(c *config) { c.log, c.logSet = l, true }
}

// WithPartitions sets the number of partitions of a topic whose spec does not set one.
// It must be from 1 to 100,000. The default is 1.
func WithPartitions(n int32) Option {
	return logOption("WithPartitions", n, n >= 1 && n <= maxPartitions, "from 1 to 100000", func(c *config) { c.partitions = n })
}

// WithMaxRecords sets how many records a partition keeps. It must be at least 1. The
// default is 65,536. [ConfigRetentionRecords] sets it for one topic.
func WithMaxRecords(n int) Option {
	return logOption("WithMaxRecords", n, n >= 1, "at least 1", func(c *config) { c.maxRecords = n })
}

// WithMaxBytes sets how many bytes a partition keeps, and so also the size of the largest
// message. Keys, payloads, and the names and values of headers count. It must be at
// least 1. The default is 64 MiB. [ConfigRetentionBytes] sets it for one topic.
func WithMaxBytes(n int64) Option {
	return logOption("WithMaxBytes", n, n >= 1, "at least 1", func(c *config) { c.maxBytes = n })
}

// WithMaxAge sets the age at which records are dropped, read or unread, as Kafka's
// retention.ms does. The age is measured from the timestamp of the record. The default
// is 0, which means no limit. [ConfigRetentionMS] sets it for one topic.
func WithMaxAge(d time.Duration) Option {
	return logOption("WithMaxAge", d, d >= 0, "0 or more", func(c *config) { c.maxAge = d })
}

// WithRevokeTimeout sets how long a group waits for the previous owner of a partition to
// release it. It must be greater than 0. The default is 10 s.
func WithRevokeTimeout(d time.Duration) Option {
	return logOption("WithRevokeTimeout", d, d > 0, "greater than 0", func(c *config) { c.revokeTimeout = d })
}

func logOption(name string, value any, ok bool, valid string, set func(*config)) Option {
	return func(c *config) {
		if c.logOption == "" {
			c.logOption = name
		}
		if !ok && c.err == nil {
			c.err = invalidArgument("open", "", fmt.Sprintf("%s must be %s, got %v", name, valid, value))
		}
		set(c)
	}
}

func configure(opts []Option) (config, error) {
	c := config{settings: settings{
		partitions:    defaultPartitions,
		revokeTimeout: defaultRevokeTimeout,
		limits:        limits{maxRecords: defaultMaxRecords, maxBytes: defaultMaxBytes, tombstones: defaultTombstoneRetention},
	}}
	for _, o := range opts {
		o(&c)
	}
	return c, c.err
}
