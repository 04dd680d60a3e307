// Command consumer-sequential prints the messages of a topic, one at a time. The environment
// configures TLS.
//
//	KAFKA_CONSUMED_TOPIC=orders KAFKA_CONSUMED_GROUP=printers go run ./examples/consumer-sequential
//	KAFKA_ADDR=broker:9093 KAFKA_SEC_PROTO=TLS KAFKA_SEC_CA_CERTS=ca.pem go run ./examples/consumer-sequential
//
// It reads these variables, and those of package kafkaenv (with their defaults):
//
//	KAFKA_CONSUMED_TOPIC     the topic to consume; myTopic
//	KAFKA_CONSUMED_GROUP     the consumer group; myGroup
//	KAFKA_DEAD_LETTER_TOPIC  the topic for messages that cannot be handled; none
//	SNOOZE                   if true, the handler takes half a second for each message
//
// A signal ends it. The exit code is 0 for success, 1 if something failed, and 2 if a
// variable is wrong.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"

	"github.com/trunkline/trunkline/bus"
	"github.com/trunkline/trunkline/bus/consumer"
	"github.com/trunkline/trunkline/examples/internal/kafkaenv"
)

type config struct {
	kafkaenv.Config
	topic, group, deadLetter string
	work                     time.Duration // the time that the handler takes for each message
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := run(ctx, os.Getenv, os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

func run(ctx context.Context, getenv func(string) string, stdout, stderr io.Writer) int {
	env := kafkaenv.NewEnv(getenv)
	cfg := config{
		Config:     env.Config(),
		topic:      env.Text("KAFKA_CONSUMED_TOPIC", "myTopic"),
		group:      env.Text("KAFKA_CONSUMED_GROUP", "myGroup"),
		deadLetter: env.Text("KAFKA_DEAD_LETTER_TOPIC", ""),
	}
	if env.Bool("SNOOZE") {
		cfg.work = 500 * time.Millisecond
	}
	if err := env.Err(); err != nil {
		fmt.Fprintln(stderr, "consumer-sequential:", err)
		return 2
	}
	if err := consume(ctx, cfg, stdout, slog.New(slog.NewTextHandler(stderr, nil))); err != nil {
		fmt.Fprintln(stderr, "consumer-sequential:", err)
		return 1
	}
	return 0
}

func consume(ctx context.Context, cfg config, stdout io.Writer, log *slog.Logger) (err error) {
	b, err := cfg.Open(log)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, b.Close()) }()
	opts := []consumer.Option{
		bus.Group(cfg.group), bus.OrderByPartition(),
		bus.Concurrency(1), // one message at a time, for any number of partitions
		consumer.WithLogger(log),
	}
	if cfg.deadLetter != "" { // without it, a failed message is retried until it succeeds
		opts = append(opts, bus.DeadLetterTopic(cfg.deadLetter))
	}
	c, err := consumer.New(b, cfg.topic, handler(cfg, stdout), opts...)
	if err != nil {
		return err
	}
	defer func() {
		closing, cancel := context.WithTimeout(context.WithoutCancel(ctx), cfg.Shutdown)
		defer cancel()
		err = errors.Join(err, c.Shutdown(closing)) // waits for running handlers and commits their messages
	}()
	if err := c.Start(); err != nil { // does not wait for a broker
		return err
	}
	for change := range c.Watch(ctx) { // until a signal
		log.Info("the consumer is "+change.State.String(), "cause", change.Cause)
		if change.State == consumer.Stopped {
			return change.Cause // an error, such as a missing topic
		}
	}
	return nil
}

func handler(cfg config, stdout io.Writer) bus.Handler {
	var printing sync.Mutex
	return func(ctx context.Context, d *bus.Delivery) error {
		if err := work(ctx, cfg.work); err != nil {
			return err // the message is delivered again, to this consumer or another
		}
		printing.Lock()
		defer printing.Unlock()
		_, err := fmt.Fprintf(stdout, "%d/%d %s: %s\n", d.Record.Partition, d.Record.Offset, d.Record.Key, d.Payload)
		return err
	}
}

// work takes the time d. It ends early if the partition is revoked or the shutdown time-out
// expires.
func work(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
