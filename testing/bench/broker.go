package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"time"

	"github.com/trunkline/trunkline/testing/kafkatest"
)

// brokerEnv, when set, makes this command an embedded broker.
const brokerEnv = "TRUNKLINE_BENCH_BROKER"

// serveBroker prints the broker's addresses, and serves until in ends: with the
// process that started it, however that ends.
func serveBroker(in io.Reader, out io.Writer) error {
	b, err := kafkatest.Start(context.Background())
	if err != nil {
		return err
	}
	defer b.Close()
	if _, err := fmt.Fprintln(out, strings.Join(b.Addrs(), ",")); err != nil {
		return err
	}
	_, err = io.Copy(io.Discard, in)
	return err
}

// connect finds or starts the brokers; stop ends what it started.
func (e *env) connect(ctx context.Context, brokers string) (stop func(), err error) {
	stop = func() {}
	if brokers == "embedded" {
		if brokers, stop, err = startBroker(ctx); err != nil {
			return nil, fmt.Errorf("the embedded broker did not start: %w", err)
		}
	}
	e.brokers = strings.Split(brokers, ",")
	e.admin, err = kafkatest.Attach(ctx, e.brokers)
	if err != nil {
		stop()
		return nil, err
	}
	return stop, nil
}

// startBroker runs this command again, as a broker.
func startBroker(ctx context.Context) (addrs string, stop func(), err error) {
	self, err := os.Executable()
	if err != nil {
		return "", nil, err
	}
	cmd := exec.CommandContext(ctx, self)
	cmd.Env = append(os.Environ(), brokerEnv+"=1")
	cmd.Stderr = os.Stderr
	cmd.WaitDelay = 5 * time.Second
	in, err := cmd.StdinPipe()
	if err != nil {
		return "", nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return "", nil, err
	}
	if err := cmd.Start(); err != nil {
		return "", nil, err
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		return "", nil, errors.Join(err, in.Close(), cmd.Wait())
	}
	return strings.TrimSpace(line), func() {
		_ = in.Close() // it ends when its input does
		_ = cmd.Wait() // and has nothing more to say
	}, nil
}
