// Package kafkatb gives a test a Kafka broker: one embedded in the test's own
// process, or the real cluster that the environment names.
//
//	func TestOrders(t *testing.T) {
//		b := kafkatb.New(t)
//		topic := kafkatb.Topic(t, b, 8)
//		... b.Addrs() ...
//	}
//
// The same test then runs against Apache Kafka with
//
//	TRUNKLINE_KAFKA=127.0.0.1:9092 go test ./...
//
// Several tests share a real cluster, and its topics outlive the test run, so
// a test that is to run on both takes its topics and group names from [Topic]
// and [Name].
package kafkatb

import (
	"context"
	"crypto/rand"
	"errors"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/trunkline/trunkline/testing/kafkatest"
)

// Env is the environment variable that names a real cluster to test against:
// host:port addresses with commas between them.
const Env = "TRUNKLINE_KAFKA"

// EnvSecure is the environment variable that names the file about a real cluster's
// secured listeners, which the cluster command has written.
const EnvSecure = "TRUNKLINE_KAFKA_SECURE"

const setupLimit = 30 * time.Second

// New returns a broker for tb: the cluster that [Env] names, or an embedded
// broker with opts that is closed when tb ends. It skips tb, with the reason,
// when the real cluster is not what opts ask for, and fails it when there is no
// broker to be had.
func New(tb testing.TB, opts ...kafkatest.Option) *kafkatest.Broker {
	tb.Helper()
	if IsReal() {
		return attach(tb, addresses(os.Getenv(Env)), opts)
	}
	return Embedded(tb, opts...)
}

// IsReal says whether New returns a broker of the cluster that [Env] names.
func IsReal() bool { return len(addresses(os.Getenv(Env))) > 0 }

// Embedded returns an embedded broker whatever the environment says, for tests
// that need what only it can do, such as a port of their own. It is closed
// when tb ends.
func Embedded(tb testing.TB, opts ...kafkatest.Option) *kafkatest.Broker {
	tb.Helper()
	ctx, cancel := context.WithTimeout(tb.Context(), setupLimit)
	defer cancel()
	b, err := kafkatest.Start(ctx, opts...)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { b.Close() })
	return b
}

// Secure returns the secured listeners of the real cluster that [EnvSecure] is about,
// and what opens them. It skips tb, with the reason, when there is none: the embedded
// broker knows neither TLS nor SASL. Topics are made through [New], whose broker is
// the same cluster.
func Secure(tb testing.TB) *kafkatest.Secure {
	tb.Helper()
	file := os.Getenv(EnvSecure)
	if file == "" {
		tb.Skipf("needs a real cluster with TLS and SASL, and %s is not set: run eval \"$(go run ./testing/kafkatest/cluster up)\"", EnvSecure)
	}
	if os.Getenv(Env) == "" {
		tb.Fatalf("%s is set and %s is not: both come from the cluster command", EnvSecure, Env)
	}
	s, err := kafkatest.LoadSecure(file)
	if err != nil {
		tb.Fatalf("%v (%s names it; unset it to go without)", err, EnvSecure)
	}
	return s
}

func attach(tb testing.TB, addrs []string, opts []kafkatest.Option) *kafkatest.Broker {
	tb.Helper()
	ctx, cancel := context.WithTimeout(tb.Context(), setupLimit)
	defer cancel()
	b, err := kafkatest.Attach(ctx, addrs, opts...)
	if errors.Is(err, kafkatest.ErrUnfit) {
		tb.Skipf("needs another broker than the one %s names: %v", Env, err)
	}
	if err != nil {
		tb.Fatalf("%v (%s names this cluster; unset it to use an embedded broker)", err, Env)
	}
	return b
}

// Topic creates a topic with a name of its own and the given number of
// partitions, and returns the name. The topic is deleted when tb ends.
func Topic(tb testing.TB, b *kafkatest.Broker, partitions int) string {
	tb.Helper()
	name := Name(tb)
	ctx, cancel := context.WithTimeout(tb.Context(), setupLimit)
	defer cancel()
	if err := b.CreateTopic(ctx, name, partitions); err != nil {
		tb.Fatal(err)
	}
	if !b.Embedded() {
		tb.Cleanup(func() {
			ctx, cancel := context.WithTimeout(context.Background(), setupLimit)
			defer cancel()
			if err := b.DeleteTopic(ctx, name); err != nil {
				tb.Log(err)
			}
		})
	}
	return name
}

// Name returns a name made from tb's and a random part, fit for a topic or a
// consumer group. Each call returns another.
func Name(tb testing.TB) string {
	const longest = 100 // of the 249 Kafka allows: room for what a test appends
	name := unfit.ReplaceAllString(tb.Name(), "-")
	if len(name) > longest {
		name = name[:longest]
	}
	return name + "-" + strings.ToLower(rand.Text()[:10])
}

var unfit = regexp.MustCompile(`[^a-zA-Z0-9._-]+`)

func addresses(list string) []string {
	var addrs []string
	for addr := range strings.SplitSeq(list, ",") {
		if addr = strings.TrimSpace(addr); addr != "" {
			addrs = append(addrs, addr)
		}
	}
	return addrs
}
