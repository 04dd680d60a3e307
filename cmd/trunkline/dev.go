package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"

	"github.com/peterbourgon/ff/v3/ffcli"

	"github.com/trunkline/trunkline/testing/kafkatest"
)

func devCommand(stdout io.Writer) *ffcli.Command {
	fs := flag.NewFlagSet("trunkline dev", flag.ContinueOnError)
	addr := fs.String("addr", "127.0.0.1:9092", "`host:port` to listen on; the host must be the loopback interface, port 0 picks a free port")
	topics := fs.String("topics", "", "`names` of topics to create, separated by commas; name:n creates a topic with n partitions")
	return &ffcli.Command{
		Name:       "dev",
		ShortUsage: "trunkline dev [flags]",
		ShortHelp:  "Run an embedded Kafka broker until interrupted.",
		LongHelp: `The broker is for development. It keeps all data in memory and loses it when it ends. It
listens on the loopback interface only, without encryption and authentication.

EXAMPLES
  trunkline dev
  trunkline dev -addr 127.0.0.1:0 -topics orders:8,events

  Then, in two other terminals:
  go run ./examples/core    -bus kafka://127.0.0.1:9092
  go run ./examples/adapter -bus kafka://127.0.0.1:9092

` + exitHelp,
		FlagSet: fs,
		Exec: func(ctx context.Context, args []string) error {
			if err := noArguments(args); err != nil {
				return err
			}
			port, err := loopbackPort(*addr)
			if err != nil {
				return &exitError{exitUsage, err}
			}
			opts, err := topicOptions(*topics)
			if err != nil {
				return &exitError{exitUsage, err}
			}
			return runDev(ctx, append(opts, kafkatest.WithPort(port)), stdout)
		},
	}
}

func runDev(ctx context.Context, opts []kafkatest.Option, stdout io.Writer) error {
	broker, err := kafkatest.Start(ctx, opts...)
	if err != nil {
		return &exitError{exitUnavailable, err}
	}
	url := "kafka://" + strings.Join(broker.Addrs(), ",")
	fmt.Fprintf(stdout, `an embedded Kafka broker listens on %s

  go run ./examples/core    -bus %s
  go run ./examples/adapter -bus %s
  go run ./cmd/trunkline demo -bus %s

press Ctrl-C to stop it
`, strings.Join(broker.Addrs(), ","), url, url, url)
	<-ctx.Done() // a signal is the normal end of this command
	return broker.Close()
}

// loopbackPort returns the port of addr. It returns an error if the host is not the
// loopback interface, which is the only one the embedded broker listens on.
func loopbackPort(addr string) (int, error) {
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return 0, fmt.Errorf("-addr must be a host:port like 127.0.0.1:9092: %w", err)
	}
	n, err := strconv.Atoi(port)
	if err != nil || n < 0 || n > 65535 {
		return 0, fmt.Errorf("-addr: the port must be a number from 0 to 65535, got %q", port)
	}
	if host != "" && host != "localhost" && host != "127.0.0.1" {
		return 0, fmt.Errorf("-addr: the host must be 127.0.0.1, got %q: the embedded broker has no authentication, so it listens on the loopback interface only", host)
	}
	return n, nil
}

func topicOptions(list string) ([]kafkatest.Option, error) {
	var opts []kafkatest.Option
	for entry := range strings.SplitSeq(list, ",") {
		if entry = strings.TrimSpace(entry); entry == "" {
			continue
		}
		name, count, given := strings.Cut(entry, ":")
		partitions := 1
		if given {
			n, err := strconv.Atoi(count)
			if err != nil || n < 1 {
				return nil, fmt.Errorf("-topics: %q: the number of partitions after the colon must be at least 1", entry)
			}
			partitions = n
		}
		if name == "" {
			return nil, fmt.Errorf("-topics: %q has no name", entry)
		}
		opts = append(opts, kafkatest.WithTopics(partitions, name))
	}
	return opts, nil
}
