// Command producer publishes each line of its standard input as a message. The environment
// configures TLS.
//
//	KAFKA_PRODUCED_TOPIC=orders go run ./examples/producer
//	KAFKA_ADDR=broker:9093 KAFKA_SEC_PROTO=TLS KAFKA_SEC_CA_CERTS=ca.pem go run ./examples/producer < lines.txt
//
// It reads these variables, and those of package kafkaenv (with their defaults):
//
//	KAFKA_PRODUCED_TOPIC       the topic to publish to; myTopic
//	KAFKA_WAIT_PRODUCER_READY  if true, wait for a broker before reading the first line
//	CHOMP_MSG                  if true, remove the line break from the message
//
// It ends at the end of its input, or on a signal. The exit code is 0 if every line is in
// the log, 1 if not, and 2 if a variable is wrong.
package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/ThreeDotsLabs/watermill"
	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/trunkline/trunkline/bus/producer"
	"github.com/trunkline/trunkline/examples/internal/kafkaenv"
)

type config struct {
	kafkaenv.Config
	topic        string
	waitForReady bool
	chomp        bool
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := run(ctx, os.Getenv, os.Stdin, os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

func run(ctx context.Context, getenv func(string) string, stdin io.Reader, stdout, stderr io.Writer) int {
	env := kafkaenv.NewEnv(getenv)
	cfg := config{
		Config:       env.Config(),
		topic:        env.Text("KAFKA_PRODUCED_TOPIC", "myTopic"),
		waitForReady: env.Bool("KAFKA_WAIT_PRODUCER_READY"),
		chomp:        env.Bool("CHOMP_MSG"),
	}
	if err := env.Err(); err != nil {
		fmt.Fprintln(stderr, "producer:", err)
		return 2
	}
	if err := produce(ctx, cfg, stdin, stdout, slog.New(slog.NewTextHandler(stderr, nil))); err != nil {
		fmt.Fprintln(stderr, "producer:", err)
		return 1
	}
	return 0
}

func produce(ctx context.Context, cfg config, stdin io.Reader, stdout io.Writer, log *slog.Logger) (err error) {
	b, err := cfg.Open(log)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, b.Close()) }()
	p, err := producer.New(b, cfg.topic) // does not wait for a broker
	if err != nil {
		return err
	}
	defer func() {
		closing, cancel := context.WithTimeout(context.WithoutCancel(ctx), cfg.Shutdown)
		defer cancel()
		err = errors.Join(err, p.Shutdown(closing))
	}()
	if cfg.waitForReady {
		if err := b.Ready(ctx); err != nil {
			return err
		}
	}
	in := lines(ctx, stdin)
	for {
		select {
		case line, more := <-in:
			if !more {
				return nil
			}
			if cfg.chomp {
				line = strings.TrimRight(line, "\r\n")
			}
			report, err := p.Send(ctx, message.NewMessage(watermill.NewUUID(), []byte(line)))
			if err != nil {
				return err
			}
			fmt.Fprintf(stdout, "sent to partition %d, offset %d\n", report.Partition, report.Offset)
		case <-ctx.Done():
			return nil
		}
	}
}

// lines reads in a goroutine of its own, because a read from a terminal cannot be
// interrupted.
func lines(ctx context.Context, r io.Reader) <-chan string {
	out := make(chan string)
	go func() {
		defer close(out)
		in := bufio.NewReader(r)
		for {
			line, err := in.ReadString('\n')
			if line != "" {
				select {
				case out <- line:
				case <-ctx.Done():
					return
				}
			}
			if err != nil {
				return
			}
		}
	}()
	return out
}
