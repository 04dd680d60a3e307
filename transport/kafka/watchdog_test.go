package kafka_test

import (
	"context"
	"log/slog"
	"net"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/trunkline/trunkline/bus/driver"
	"github.com/trunkline/trunkline/testing/kafkatest"
	"github.com/trunkline/trunkline/testing/kafkatest/kafkatb"
	"github.com/trunkline/trunkline/transport/kafka"
)

// logMessages is a slog handler. A test can wait for its messages.
type logMessages struct {
	slog.Handler
	mu       sync.Mutex
	messages []string
	more     chan struct{}
}

func newLogMessages() *logMessages {
	return &logMessages{Handler: slog.DiscardHandler, more: make(chan struct{})}
}

func (h *logMessages) Enabled(context.Context, slog.Level) bool { return true }

func (h *logMessages) Handle(_ context.Context, r slog.Record) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.messages = append(h.messages, r.Message)
	close(h.more)
	h.more = make(chan struct{})
	return nil
}

// count returns the number of messages that contain part.
func (h *logMessages) count(part string) int {
	h.mu.Lock()
	defer h.mu.Unlock()
	n := 0
	for _, s := range h.messages {
		if strings.Contains(s, part) {
			n++
		}
	}
	return n
}

func (h *logMessages) await(t *testing.T, part string) {
	t.Helper()
	h.awaitMany(t, part, 1)
}

// awaitMany waits until n messages that contain part have been logged.
func (h *logMessages) awaitMany(t *testing.T, part string, n int) {
	t.Helper()
	ctx := testContext(t)
	for {
		h.mu.Lock()
		more := h.more
		h.mu.Unlock()
		count := h.count(part)
		if count >= n {
			return
		}
		select {
		case <-more:
		case <-ctx.Done():
			t.Fatalf("%q was logged %d times, not %d", part, count, n)
		}
	}
}

// While a broker hangs, the transport uses the others and stays connected. It uses the broker
// again when that answers.
func TestHangingBrokerIsIsolatedUntilItAnswers(t *testing.T) {
	t.Parallel()
	b := kafkatb.Embedded(t, kafkatest.WithBrokers(3))
	topic := kafkatb.Topic(t, b, 48) // enough that each broker leads some
	hanging := &kafkatest.Dialer{}
	addr := b.Addrs()[2]
	log := newLogMessages()
	k := open(t, b, kafka.WithLogger(slog.New(log)), kafka.WithDialer(func(ctx context.Context, network, to string) (net.Conn, error) {
		if to == addr {
			return hanging.DialContext(ctx, network, to)
		}
		return (&net.Dialer{}).DialContext(ctx, network, to)
	}))
	seen := observe(k)
	h := k.Check(testContext(t), driver.CheckSpec{Topics: []string{topic}, BrokerTimeout: testTimeout})
	var id int32 = -1
	for _, broker := range h.Brokers {
		if broker.Addr == addr {
			id = broker.ID
		}
	}
	var there, elsewhere []int32
	for _, p := range h.Topics[0].Partitions {
		requirePublished(t, publish(t, k, topic, item{payload: "before", partition: p.ID}))
		if p.Leader == id {
			there = append(there, p.ID)
		} else {
			elsewhere = append(elsewhere, p.ID)
		}
	}
	if len(there) == 0 || len(elsewhere) == 0 {
		t.Fatalf("each of %v must lead some of the partitions: %v", h.Brokers, h.Topics)
	}
	hanging.Stall()
	outs, s := batch(testContext(t), topic, item{payload: "meanwhile", partition: there[0]})
	k.Publish(outs)
	log.await(t, "not using it until it answers")
	for range 3 {
		requirePublished(t, publish(t, k, topic, item{payload: "meanwhile", partition: elsewhere[0]}))
	}
	hanging.Restore()
	log.await(t, "using a broker again")
	requirePublished(t, s.wait()) // the transport retried it in the meantime
	requirePublished(t, publish(t, k, topic, item{payload: "after", partition: there[0]}))
	require.Equal(t, "connected", seen.String())
}
