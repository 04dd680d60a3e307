package kafka

import (
	"fmt"
	"time"

	"github.com/IBM/sarama"
)

// producerOptions configures how records are sent.
type producerOptions struct {
	compression     sarama.CompressionCodec
	linger          time.Duration
	maxBytes        int
	deliveryTimeout time.Duration
}

// WithCompression sets the compression of record batches: sarama.CompressionNone (the
// default), Gzip, Snappy, LZ4 or ZSTD. A batch contains the records for one partition in
// one request, so compression saves little for single messages.
func WithCompression(codec sarama.CompressionCodec) Option {
	return func(o *options) error {
		if codec < sarama.CompressionNone || codec > sarama.CompressionZSTD {
			return invalid(fmt.Sprintf("compression must be one of sarama's codecs, got %d", int8(codec)))
		}
		o.producer.compression = codec
		return nil
	}
}

// WithLinger sets how long the first message of a batch waits for others. A longer wait
// gives fewer and larger requests, and delays every message. d must be from 0 to 100 ms.
// The default is 0: a message is sent at once unless a request for the same partition is
// in flight. Messages that arrive meanwhile go into the next request.
func WithLinger(d time.Duration) Option {
	return func(o *options) error {
		if d < 0 || d > 100*time.Millisecond {
			return invalid(fmt.Sprintf("linger must be from 0 to 100ms, got %v", d))
		}
		o.producer.linger = d
		return nil
	}
}

// WithMaxMessageBytes sets the size of the largest record, and so of the largest batch for
// a partition, in bytes. n must be from 1 KiB to 64 MiB. The default is 1,048,576, which
// is the default limit of brokers. For larger records raise the topic's max.message.bytes
// too. The MaxMessageBytes of [Transport.Capabilities] is about a twentieth less, because
// the record's framing needs space: 1,000,000 by default.
func WithMaxMessageBytes(n int) Option {
	return func(o *options) error {
		if n < 1<<10 || n > 64<<20 {
			return invalid(fmt.Sprintf("largest message must be from 1 KiB to 64 MiB, got %d bytes", n))
		}
		o.producer.maxBytes = n
		return nil
	}
}

// WithDeliveryTimeout sets how long the transport retries a message that a broker rejects
// temporarily, because its partition has no leader or too few in-sync replicas. d must be
// from 1 s to 10 min. The default is 30 s. The retries end sooner when no broker of the
// cluster answers. They can take up to [Timeouts].Request longer when one broker does not
// answer. After the last retry, the message fails with OutcomeUnknown, or with Unavailable
// if the transport has never sent it. Package bus has a delivery time-out of its own and
// stops waiting when that expires.
func WithDeliveryTimeout(d time.Duration) Option {
	return func(o *options) error {
		if d < time.Second || d > 10*time.Minute {
			return invalid(fmt.Sprintf("delivery time-out must be from 1s to 10m, got %v", d))
		}
		o.producer.deliveryTimeout = d
		return nil
	}
}

// The first retries follow each other quickly, because a partition whose leader has just
// moved accepts the record soon. Later retries are slower.
const (
	quickRetries = 20
	quickPause   = 50 * time.Millisecond
	slowPause    = 250 * time.Millisecond
)

func (p producerOptions) apply(c *sarama.Config) {
	c.Producer.Compression = p.compression
	c.Producer.Flush.Frequency = p.linger
	c.Producer.MaxMessageBytes = p.maxBytes
	c.Producer.Retry.Max = retriesWithin(p.deliveryTimeout)
	c.Producer.Retry.BackoffFunc = func(retries, _ int) time.Duration {
		if retries <= quickRetries {
			return quickPause
		}
		return slowPause
	}
}

// retriesWithin returns how many retries, with their pauses, fit into d.
func retriesWithin(d time.Duration) int {
	const quick = quickRetries * quickPause
	if d <= quick {
		return int(d / quickPause)
	}
	return quickRetries + int((d-quick)/slowPause)
}

// payloadLimit converts the size limit of a record into the limit of a message, as package
// bus counts it. The difference is for the framing of the record and its headers.
func payloadLimit(recordLimit int) int {
	return int(int64(recordLimit) * 1_000_000 / (1 << 20))
}
