// Package kafkatb provides a Kafka broker to a test. The broker is embedded in the
// test's process, or it is the real cluster that the environment names.
//
//	func TestOrders(t *testing.T) {
//		b := kafkatb.New(t)
//		topic := kafkatb.Topic(t, b, 8)
//		... b.Addrs() ...
//	}
//
// To run the same test against Apache Kafka:
//
//	TRUNKLINE_KAFKA=127.0.0.1:9092 go test ./...
//
// Several tests share a real cluster, and its topics can outlive the test run. A test
// for both kinds of broker therefore uses [Topic] for topics and [Name] for the names
// of groups.
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

// Env is the environment variable with the addresses of a real cluster to test
// against: host:port, separated by commas.
const Env = "TRUNKLINE_KAFKA"

// EnvSecure is the environment variable with the path of the file that describes the
// secured listeners of the real cluster. The command cluster writes that file.
const EnvSecure = "TRUNKLINE_KAFKA_SECURE"

const setupLimit = 30 * time.Second

// New returns a broker: the cluster that [Env] names, or else an embedded broker that
// is closed when tb ends. It skips tb if the real cluster does not meet opts. It fails
// tb if it cannot start the broker or reach the cluster.
func New(tb testing.TB, opts ...kafkatest.Option) *kafkatest.Broker {
	tb.Helper()
	if IsReal() {
		return attach(tb, addresses(os.Getenv(Env)), opts)
	}
	return Embedded(tb, opts...)
}

// IsReal reports whether New returns the cluster that [Env] names.
func IsReal() bool { return len(addresses(os.Getenv(Env))) > 0 }

// Embedded returns an embedded broker regardless of the environment, for tests that
// need one, for example on a specific port. It is closed when tb ends.
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

// Secure returns the secured listeners of the real cluster, with the credentials for
// them. It skips tb if [EnvSecure] is not set, because the embedded broker has neither
// TLS nor SASL. Use [New] to create topics; it returns the same cluster.
func Secure(tb testing.TB) *kafkatest.SecureCluster {
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
		tb.Fatalf("%v (%s names this file; unset it to skip the test)", err, EnvSecure)
	}
	return s
}

func attach(tb testing.TB, addrs []string, opts []kafkatest.Option) *kafkatest.Broker {
	tb.Helper()
	ctx, cancel := context.WithTimeout(tb.Context(), setupLimit)
	defer cancel()
	b, err := kafkatest.Attach(ctx, addrs, opts...)
	if errors.Is(err, kafkatest.ErrUnsuitable) {
		tb.Skipf("cannot use the cluster that %s names: %v", Env, err)
	}
	if err != nil {
		tb.Fatalf("%v (%s names this cluster; unset it to use an embedded broker)", err, Env)
	}
	return b
}

// Topic creates a topic with a unique name and this number of partitions, and returns
// the name. The topic is deleted when tb ends.
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

// Name returns a unique name for a topic or a consumer group. It consists of the name
// of tb and a random part.
func Name(tb testing.TB) string {
	const longest = 100 // Kafka permits 249 characters; a test can append some
	name := illegal.ReplaceAllString(tb.Name(), "-")
	if len(name) > longest {
		name = name[:longest]
	}
	return name + "-" + strings.ToLower(rand.Text()[:10])
}

var illegal = regexp.MustCompile(`[^a-zA-Z0-9._-]+`)

func addresses(list string) []string {
	var addrs []string
	for addr := range strings.SplitSeq(list, ",") {
		if addr = strings.TrimSpace(addr); addr != "" {
			addrs = append(addrs, addr)
		}
	}
	return addrs
}
