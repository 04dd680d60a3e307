// Package exampletest has helpers for tests of the example programs. The tests use the programs
// from outside: their environment, their output, and the messages in the log.
package exampletest

import (
	"context"
	"maps"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/trunkline/trunkline/bus"
	"github.com/trunkline/trunkline/testing/kafkatest"
	"github.com/trunkline/trunkline/testing/kafkatest/kafkatb"
	"github.com/trunkline/trunkline/transport/kafka"
)

const limit = time.Minute

// shutdownTimeout is the shutdown time-out of the programs. Their default is too short for a
// busy machine.
const shutdownTimeout = "40s"

// Env returns a function like os.Getenv for these variables.
func Env(vars ...map[string]string) func(string) string {
	all := map[string]string{}
	for _, v := range vars {
		maps.Copy(all, v)
	}
	return func(name string) string { return all[name] }
}

// Output records the standard output of a program. It is safe for concurrent use.
type Output struct {
	mu      sync.Mutex
	text    strings.Builder
	changed chan struct{}
}

// Write implements io.Writer.
func (o *Output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.changed != nil {
		close(o.changed)
		o.changed = nil
	}
	return o.text.Write(p)
}

// String returns the text that was written so far.
func (o *Output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.String()
}

// Await waits until each text was written. It fails tb after a minute.
func (o *Output) Await(tb testing.TB, texts ...string) {
	tb.Helper()
	late := time.After(limit)
	for {
		o.mu.Lock()
		if o.changed == nil {
			o.changed = make(chan struct{})
		}
		changed, so := o.changed, o.text.String()
		o.mu.Unlock()
		missing := ""
		for _, text := range texts {
			if !strings.Contains(so, text) {
				missing = text
			}
		}
		if missing == "" {
			return
		}
		select {
		case <-changed:
		case <-late:
			tb.Fatalf("%q was not written, but:\n%s", missing, so)
		}
	}
}

// Kafka is a broker with topics for one test.
type Kafka struct {
	// Vars are the environment variables for this broker.
	Vars map[string]string
	// Bus uses the same broker.
	Bus *bus.Bus
	tb  testing.TB
	b   *kafkatest.Broker
}

// NewKafka returns a broker without TLS: an embedded one, or the cluster that the
// environment names.
func NewKafka(tb testing.TB) *Kafka {
	tb.Helper()
	b := kafkatb.New(tb)
	t, err := kafka.New(b.Addrs())
	if err != nil {
		tb.Fatal(err)
	}
	k := &Kafka{Vars: map[string]string{"KAFKA_ADDR": strings.Join(b.Addrs(), ","), "GRACEFUL_SHUTDOWN_TIMEOUT": shutdownTimeout}, tb: tb, b: b}
	if k.Bus, err = bus.New(t, bus.WithCloseTimeout(limit)); err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { k.Bus.Close() })
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	if err := k.Bus.Ready(ctx); err != nil {
		tb.Fatal(err)
	}
	return k
}

// NewSecureKafka returns the cluster that the environment names, over TLS with a client
// certificate. Without a cluster it skips tb.
func NewSecureKafka(tb testing.TB) *Kafka {
	tb.Helper()
	s := kafkatb.Secure(tb)
	k := NewKafka(tb)
	k.Vars = map[string]string{
		"KAFKA_ADDR": strings.Join(s.Addrs(kafkatest.ListenerMTLS), ","), "KAFKA_SEC_PROTO": "TLS",
		"KAFKA_SEC_CA_CERTS": s.CAFile, "KAFKA_SEC_CLIENT_CERT": s.CertFile, "KAFKA_SEC_CLIENT_KEY": s.KeyFile,
		"GRACEFUL_SHUTDOWN_TIMEOUT": shutdownTimeout,
	}
	return k
}

// Topic creates a topic and returns its name.
func (k *Kafka) Topic(partitions int) string { return kafkatb.Topic(k.tb, k.b, partitions) }

// Publish publishes messages of the form "key: payload".
func (k *Kafka) Publish(topic string, messages ...string) {
	k.tb.Helper()
	for _, text := range messages {
		key, payload, _ := strings.Cut(text, ": ")
		m := message.NewMessage(text, []byte(payload))
		bus.SetKey(m, key)
		if err := k.Bus.Publish(topic, m); err != nil {
			k.tb.Fatal(err)
		}
	}
}

// Program is a running program.
type Program struct {
	Out, Log Output
	tb       testing.TB
	stop     context.CancelFunc
	code     chan int
}

// Run starts a program.
func Run(tb testing.TB, run func(ctx context.Context, p *Program) int) *Program {
	ctx, cancel := context.WithTimeout(context.Background(), 2*limit)
	p := &Program{tb: tb, stop: cancel, code: make(chan int, 1)}
	go func() { p.code <- run(ctx, p) }()
	tb.Cleanup(cancel)
	return p
}

// Interrupt ends the program as a signal does, and returns its exit code.
func (p *Program) Interrupt() int {
	p.stop()
	return p.Wait()
}

// Wait waits for the end of the program and returns its exit code.
func (p *Program) Wait() int {
	p.tb.Helper()
	select {
	case code := <-p.code:
		return code
	case <-time.After(limit):
		p.tb.Fatalf("the program did not end within a minute:\n%s\n%s", &p.Out, &p.Log)
		return -1
	}
}
