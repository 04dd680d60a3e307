// Command consumer-concurrent prints the messages of a topic, several at a time: those
// of one key one after the other, those of different keys side by side.
//
//	KAFKA_CONSUMED_TOPIC=orders KAFKA_PARALLEL_MESSAGES=16 go run ./examples/consumer-concurrent
//
// Its variables, beside those of package kafkaenv:
//
//	KAFKA_CONSUMED_TOPIC     what it reads; myTopic
//	KAFKA_CONSUMED_GROUP     the consumer group it is a member of; myGroup
//	KAFKA_DEAD_LETTER_TOPIC  where messages go that can't be handled; none
//	KAFKA_PARALLEL_MESSAGES  how many at a time; 3
//	SNOOZE                   true to take half a second for each message
//
// It ends when it is interrupted. The exit code is 0 then, 1 when something failed, 2
// when a variable is wrong.
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
	work                     time.Duration // what each message takes, to have something to do
	workers                  int
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
		workers:    env.Int("KAFKA_PARALLEL_MESSAGES", 3),
	}
	if env.Bool("SNOOZE") {
		cfg.work = 500 * time.Millisecond
	}
	if err := env.Err(); err != nil {
		fmt.Fprintln(stderr, "consumer-concurrent:", err)
		return 2
	}
	if err := consume(ctx, cfg, stdout, slog.New(slog.NewTextHandler(stderr, nil))); err != nil {
		fmt.Fprintln(stderr, "consumer-concurrent:", err)
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
		bus.Group(cfg.group), bus.OrderByKey(),
		bus.Concurrency(cfg.workers), // more than there are partitions is of use
		consumer.WithLogger(log),
	}
	if cfg.deadLetter != "" { // else what can't be handled is tried again until it can
		opts = append(opts, bus.DeadLetterTopic(cfg.deadLetter))
	}
	c, err := consumer.New(b, cfg.topic, handler(cfg, stdout), opts...)
	if err != nil {
		return err
	}
	defer func() {
		closing, cancel := context.WithTimeout(context.WithoutCancel(ctx), cfg.Shutdown)
		defer cancel()
		err = errors.Join(err, c.Shutdown(closing)) // handlers that run are waited for, and what they did is committed
	}()
	if err := c.Start(); err != nil { // the broker may be away
		return err
	}
	for change := range c.Watch(ctx) { // until the interrupt
		log.Info("the consumer is "+change.State.String(), "cause", change.Cause)
		if change.State == consumer.Stopped {
			return change.Cause // by itself: a topic that is not there, say
		}
	}
	return nil
}

func handler(cfg config, stdout io.Writer) bus.Handler {
	var printing sync.Mutex
	return func(ctx context.Context, d *bus.Delivery) error {
		if err := work(ctx, cfg.work); err != nil {
			return err // delivered again, here or elsewhere
		}
		printing.Lock()
		defer printing.Unlock()
		_, err := fmt.Fprintf(stdout, "%d/%d %s: %s\n", d.Record.Partition, d.Record.Offset, d.Record.Key, d.Payload)
		return err
	}
}

// work ends early when the partition is taken away, or the program's end has no more time.
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
