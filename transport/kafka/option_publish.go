package kafka

import (
	"time"

	"github.com/IBM/sarama"
)

// publishing is how records are sent.
type publishing struct {
	compression sarama.CompressionCodec
	linger      time.Duration
	maxBytes    int
	delivery    time.Duration
}

// WithCompression sets how batches of records are compressed: sarama.CompressionNone
// by default, or Gzip, Snappy, LZ4, ZSTD. A batch is what goes to one partition in one
// request, so single messages gain little.
func WithCompression(codec sarama.CompressionCodec) Option {
	return func(o *options) error {
		if codec < sarama.CompressionNone || codec > sarama.CompressionZSTD {
			return invalid("the compression is not one of sarama's codecs")
		}
		o.publishing.compression = codec
		return nil
	}
}

// WithLinger makes the first message of a batch wait this long for company, and every
// message with it: fewer, larger requests. The default is 0: a message is sent at once
// unless a request with messages for the same partition is under way, and what comes
// meanwhile goes together with the next. Over a tenth of a second is refused.
func WithLinger(d time.Duration) Option {
	return func(o *options) error {
		if d < 0 || d > 100*time.Millisecond {
			return invalid("the linger is not within 0 and 100ms")
		}
		o.publishing.linger = d
		return nil
	}
}

// WithMaxMessageBytes sets the largest record, and so the largest batch for a
// partition, in bytes: 1,048,576, which is what brokers take by default. A topic that
// is to hold more needs max.message.bytes raised as well. From 1 KiB to 64 MiB. The
// MaxMessageBytes of [Transport.Capabilities] is a twentieth less, rounded to 1,000,000
// by default: what is left for a message when the record's framing has its room.
func WithMaxMessageBytes(n int) Option {
	return func(o *options) error {
		if n < 1<<10 || n > 64<<20 {
			return invalid("the largest message is not within 1 KiB and 64 MiB")
		}
		o.publishing.maxBytes = n
		return nil
	}
}

// WithDeliveryTimeout sets for how long a message is tried again that a broker turns
// down for now, because its partition has no leader or too few replicas in sync: 30 s.
// It ends sooner when the whole cluster is gone, and within [Timeouts].Request more
// when a broker does not answer. What is given up is OutcomeUnknown, unless no attempt
// was sent. Package bus stops waiting at its own delivery time-out, however long this is.
func WithDeliveryTimeout(d time.Duration) Option {
	return func(o *options) error {
		if d < time.Second || d > 10*time.Minute {
			return invalid("the delivery time-out is not within 1s and 10m")
		}
		o.publishing.delivery = d
		return nil
	}
}

// Attempts are close together at first, for a leader that has just moved, and calm later.
const (
	hastyRetries = 20
	hastyPause   = 50 * time.Millisecond
	calmPause    = 250 * time.Millisecond
)

func (p publishing) apply(c *sarama.Config) {
	c.Producer.Compression = p.compression
	c.Producer.Flush.Frequency = p.linger
	c.Producer.MaxMessageBytes = p.maxBytes
	c.Producer.Retry.Max = retries(p.delivery)
	c.Producer.Retry.BackoffFunc = func(retries, _ int) time.Duration {
		if retries <= hastyRetries {
			return hastyPause
		}
		return calmPause
	}
}

// retries is how many attempts, with their pauses, take d.
func retries(d time.Duration) int {
	const hasty = hastyRetries * hastyPause
	if d <= hasty {
		return int(d / hastyPause)
	}
	return hastyRetries + int((d-hasty)/calmPause)
}

// payloadLimit is what a record of at most n bytes leaves for a message, as package bus
// counts: the framing of a record and of its headers needs the rest.
func payloadLimit(n int) int {
	return int(int64(n) * 1_000_000 / (1 << 20))
}
