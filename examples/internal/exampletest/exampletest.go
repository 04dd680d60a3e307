// Package exampletest helps to test the example programs from the outside: by their
// environment, what they print, and what is in the log.
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

// patient is the programs' time to close in: their default is short for a busy machine.
const patient = "40s"

// Env makes a getenv of variables.
func Env(vars ...map[string]string) func(string) string {
	all := map[string]string{}
	for _, v := range vars {
		maps.Copy(all, v)
	}
	return func(name string) string { return all[name] }
}

// Output is a program's standard output. It is safe for concurrent use.
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

// String returns what was written so far.
func (o *Output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.String()
}

// Await waits until every one of the texts was written, and fails tb when that takes
// too long.
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
	// Vars are the environment variables that lead to it.
	Vars map[string]string
	// Bus is on the same broker.
	Bus *bus.Bus
	tb  testing.TB
	b   *kafkatest.Broker
}

// NewKafka returns a broker in plain text: an embedded one, or the real cluster that
// the environment names.
func NewKafka(tb testing.TB) *Kafka {
	tb.Helper()
	b := kafkatb.New(tb)
	t, err := kafka.New(b.Addrs())
	if err != nil {
		tb.Fatal(err)
	}
	k := &Kafka{Vars: map[string]string{"KAFKA_ADDR": strings.Join(b.Addrs(), ","), "GRACEFUL_SHUTDOWN_TIMEOUT": patient}, tb: tb, b: b}
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

// NewSecureKafka returns the real cluster that the environment names, over TLS with a
// certificate of one's own; without one it skips tb, with the reason.
func NewSecureKafka(tb testing.TB) *Kafka {
	tb.Helper()
	s := kafkatb.Secure(tb)
	k := NewKafka(tb)
	k.Vars = map[string]string{
		"KAFKA_ADDR": strings.Join(s.Addrs(kafkatest.ListenerMTLS), ","), "KAFKA_SEC_PROTO": "TLS",
		"KAFKA_SEC_CA_CERTS": s.CAFile, "KAFKA_SEC_CLIENT_CERT": s.CertFile, "KAFKA_SEC_CLIENT_KEY": s.KeyFile,
		"GRACEFUL_SHUTDOWN_TIMEOUT": patient,
	}
	return k
}

// Topic makes a topic of its own.
func (k *Kafka) Topic(partitions int) string { return kafkatb.Topic(k.tb, k.b, partitions) }

// Publish publishes messages with these keys and payloads: "key: payload".
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

// Program is one that runs.
type Program struct {
	Out, Log Output
	tb       testing.TB
	stop     context.CancelFunc
	code     chan int
}

// Run runs a program until it ends, or is interrupted.
func Run(tb testing.TB, run func(ctx context.Context, p *Program) int) *Program {
	ctx, cancel := context.WithTimeout(context.Background(), 2*limit)
	p := &Program{tb: tb, stop: cancel, code: make(chan int, 1)}
	go func() { p.code <- run(ctx, p) }()
	tb.Cleanup(cancel)
	return p
}

// Interrupt ends it as a signal does, and returns its exit code.
func (p *Program) Interrupt() int {
	p.stop()
	return p.Wait()
}

// Wait returns its exit code.
func (p *Program) Wait() int {
	p.tb.Helper()
	select {
	case code := <-p.code:
		return code
	case <-time.After(limit):
		p.tb.Fatalf("the program does not end:\n%s\n%s", &p.Out, &p.Log)
		return -1
	}
}
