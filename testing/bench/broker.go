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

// brokerEnv is the environment variable that makes this command an embedded broker.
const brokerEnv = "TRUNKLINE_BENCH_BROKER"

// serveBroker prints the addresses of the broker and serves until in ends. The reader in ends when the
// parent process ends, even if it crashes.
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

// connect connects to the brokers, or starts an embedded one. stop stops the embedded broker.
func (e *env) connect(ctx context.Context, brokers string) (stop func(), err error) {
	stop = func() {}
	if brokers == "embedded" {
		if brokers, stop, err = startBroker(ctx); err != nil {
			return nil, fmt.Errorf("start the embedded broker: %w", err)
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
		_ = in.Close() // ends the broker
		_ = cmd.Wait()
	}, nil
}
