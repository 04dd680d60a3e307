// Command trunkline is the command-line tool of Trunkline. It demonstrates the library,
// runs an embedded Kafka broker, lists and calls the services on a bus, cleans up reply
// topics, and processes dead-letter topics.
//
//	go run ./cmd/trunkline demo
//	go run ./cmd/trunkline demo -bus kafka-embedded://
//	go run ./cmd/trunkline dev
//	go run ./cmd/trunkline services
//	go run ./cmd/trunkline call greeter Greet '{"Name": "Ada"}'
//	go run ./cmd/trunkline dlq list orders.dead
//
// Each command describes its flags and exit codes with -help. Flags may stand before or
// after the other arguments; "--" ends them. With -json a command writes one JSON value to
// standard output; all names in it are in snake_case.
//
// The exit codes of every command are 0 for success, 1 if a check or an operation failed,
// 2 if the command line is wrong, 3 if the command could not run (no broker, a port in
// use, a timeout), and 130 if a signal interrupted it.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/peterbourgon/ff/v3/ffcli"

	"github.com/trunkline/trunkline/bus"
)

// The exit codes.
const (
	exitOK          = 0   // success
	exitFailed      = 1   // a check or an operation failed
	exitUsage       = 2   // the command line is wrong
	exitUnavailable = 3   // the command could not run: no broker, a port in use, a timeout
	exitInterrupted = 130 // a signal ended the command before it was done
)

// exitHelp describes the exit codes of the commands whose operation cannot fail on its
// own.
const exitHelp = `EXIT CODES
  0    success
  2    the command line is wrong
  3    the command could not run: no broker, a port in use, a timeout
  130  interrupted by a signal`

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

// exitError is an error with an exit code.
type exitError struct {
	code int
	err  error // nil if the command has already printed what failed
}

func (e *exitError) Error() string {
	if e.err == nil {
		return fmt.Sprintf("exit code %d", e.code)
	}
	return e.err.Error()
}

func (e *exitError) Unwrap() error { return e.err }

func usageError(format string, args ...any) error {
	return &exitError{exitUsage, fmt.Errorf(format, args...)}
}

// cannotRun returns the error of a command that could not run. An invalid argument, such
// as an unknown parameter in a URL, is a wrong command line.
func cannotRun(err error) error {
	if bus.CodeOf(err) == bus.CodeInvalidArgument {
		return &exitError{exitUsage, err}
	}
	return &exitError{exitUnavailable, err}
}

// timeoutError is the cause of a context that -timeout ended.
func timeoutError(limit time.Duration) error {
	return fmt.Errorf("not done within %v: set -timeout to a longer time", limit)
}

// run runs a command line and returns the exit code.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	root := rootCommand(stdout, stderr)
	args = flagsFirst(root, args)
	// After a mistake on the command line, package flag prints the whole help text. One line
	// is enough, so the help text is discarded unless the user asks for it.
	help := io.Discard
	if asksForHelp(args) {
		help = stdout
	}
	setOutput(help, root)
	err := root.Parse(args)
	switch {
	case errors.Is(err, flag.ErrHelp):
		return exitOK
	case err != nil:
		fmt.Fprintf(stderr, "trunkline: %v: see -help\n", err)
		return exitUsage
	}
	err = root.Run(ctx)
	if err == nil {
		return exitOK
	}
	code := exitUnavailable
	if e, ok := errors.AsType[*exitError](err); ok {
		if code = e.code; e.err == nil {
			return code
		}
	}
	fmt.Fprintf(stderr, "trunkline: %v\n", err)
	return code
}

// setOutput sets the writer for the help of a command and its subcommands.
func setOutput(w io.Writer, c *ffcli.Command) {
	c.FlagSet.SetOutput(w)
	for _, sub := range c.Subcommands {
		setOutput(w, sub)
	}
}

func asksForHelp(args []string) bool {
	for _, a := range args {
		switch a {
		case "--":
			return false
		case "-h", "-help", "--h", "--help":
			return true
		}
	}
	return false
}

func rootCommand(stdout, stderr io.Writer) *ffcli.Command {
	root := &ffcli.Command{
		ShortUsage: "trunkline <command> [flags]",
		ShortHelp:  "Demonstrate Trunkline, run a development broker, and inspect a bus.",
		LongHelp: `Flags may stand before or after the other arguments; -- ends the flags. With -json a
command writes JSON to standard output.

EXAMPLES
  trunkline demo                          run a core and an adapter on the in-memory log
  trunkline demo -bus kafka-embedded://   the same over the Kafka protocol
  trunkline dev                           run a broker for examples/core and examples/adapter
  trunkline services                      list the service instances on a bus
  trunkline call greeter Greet '{}'       make an RPC call with a JSON request
  trunkline reply-topics list -bus URL    list the reply topics of RPC clients
  trunkline dlq list orders.dead          list the messages of a dead-letter topic
  trunkline demo -help                    describe a command

EXIT CODES
  0    success
  1    a check or an operation failed
  2    the command line is wrong
  3    the command could not run: no broker, a port in use, a timeout
  130  interrupted by a signal`,
		FlagSet:     flag.NewFlagSet("trunkline", flag.ContinueOnError),
		Subcommands: []*ffcli.Command{demoCommand(stdout, stderr), devCommand(stdout), servicesCommand(stdout), callCommand(stdout), replyTopicsCommand(stdout), dlqCommand(stdout, stderr), versionCommand(stdout)},
	}
	root.Exec = func(_ context.Context, args []string) error {
		if len(args) > 0 {
			return unknownCommand(root, args)
		}
		root.FlagSet.SetOutput(stderr)
		root.FlagSet.Usage()
		return &exitError{code: exitUsage}
	}
	return root
}
