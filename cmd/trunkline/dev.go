package main

import (
	"context"
	"errors"
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
	addr := fs.String("addr", "127.0.0.1:9092", "`host:port` to listen on; the host is the loopback interface, port 0 picks a free port")
	topics := fs.String("topics", "", "`names` of topics to create, with commas between; name:n gives one n partitions")
	return &ffcli.Command{
		Name:       "dev",
		ShortUsage: "trunkline dev [flags]",
		ShortHelp:  "Run an embedded Kafka broker until interrupted.",
		LongHelp: `The broker keeps everything in memory, speaks plain text on the loopback interface only,
and is for trying things out: it forgets all when it ends.

EXAMPLES
  trunkline dev
  trunkline dev -addr 127.0.0.1:0 -topics orders:8,events

  and in two other terminals
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
	fmt.Fprintf(stdout, `an embedded Kafka broker runs at %s

  go run ./examples/core    -bus %s
  go run ./examples/adapter -bus %s
  go run ./cmd/trunkline demo -bus %s

interrupt with Ctrl-C
`, strings.Join(broker.Addrs(), ","), url, url, url)
	<-ctx.Done() // being interrupted is how it is meant to end
	return broker.Close()
}

// loopbackPort returns the port of addr, whose host must be this machine: the
// embedded broker listens nowhere else.
func loopbackPort(addr string) (int, error) {
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return 0, fmt.Errorf("-addr is no host:port like 127.0.0.1:9092: %w", err)
	}
	n, err := strconv.Atoi(port)
	if err != nil || n < 0 || n > 65535 {
		return 0, errors.New("-addr has a port that is not from 0 to 65535")
	}
	if host != "" && host != "localhost" && host != "127.0.0.1" {
		return 0, errors.New("-addr has another host than 127.0.0.1: the embedded broker has no authentication and listens on the loopback interface only")
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
				return nil, fmt.Errorf("-topics: %q has no number of partitions over zero after the colon", entry)
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
