// Command trunkline shows what Trunkline does, runs a broker to try it on, lists the
// services on a bus, calls them, and works off dead-letter topics.
//
//	go run ./cmd/trunkline demo
//	go run ./cmd/trunkline demo -bus kafka-embedded://
//	go run ./cmd/trunkline dev
//	go run ./cmd/trunkline services
//	go run ./cmd/trunkline call greeter Greet '{"Name": "Ada"}'
//	go run ./cmd/trunkline dlq list orders.dead
//
// Every command explains itself with -help.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/peterbourgon/ff/v3/ffcli"

	"github.com/trunkline/trunkline/bus"
)

// The exit codes.
const (
	exitOK          = 0   // all is well
	exitCheck       = 1   // a check failed: something was lost, out of order or misreported
	exitUsage       = 2   // the command line is wrong
	exitUnavailable = 3   // it could not be run: no broker, a port that is taken
	exitInterrupted = 130 // ended by a signal before it was done
)

const exitHelp = `EXIT CODES
  0    all is well
  1    a check failed: something was lost, out of order or misreported
  2    the command line is wrong
  3    it could not be run: no broker, a port that is taken
  130  interrupted before it was done`

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

// exitError ends the program with a code.
type exitError struct {
	code int
	err  error // nil when there is nothing more to say
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

// cannotRun tells a wrong command line, such as an unknown URL parameter, from what
// only this machine, or the moment, has against it.
func cannotRun(err error) error {
	if bus.CodeOf(err) == bus.CodeInvalidArgument {
		return &exitError{exitUsage, err}
	}
	return &exitError{exitUnavailable, err}
}

// run runs a command line and returns the exit code.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	root := rootCommand(stdout, stderr)
	// Help that is asked for goes to stdout. With a mistake on the command line package
	// flag would print all of it: one line is told instead.
	help := io.Discard
	if wantsHelp(args) {
		help = stdout
	}
	tellTo(help, root)
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

// tellTo lets a command and those below it print their help to w.
func tellTo(w io.Writer, c *ffcli.Command) {
	c.FlagSet.SetOutput(w)
	for _, sub := range c.Subcommands {
		tellTo(w, sub)
	}
}

func wantsHelp(args []string) bool {
	for _, a := range args {
		switch a {
		case "-h", "-help", "--h", "--help":
			return true
		}
	}
	return false
}

func rootCommand(stdout, stderr io.Writer) *ffcli.Command {
	root := &ffcli.Command{
		ShortUsage: "trunkline <command> [flags]",
		ShortHelp:  "Show what Trunkline does, run a broker to try it on, and look into a bus.",
		LongHelp: `EXAMPLES
  trunkline demo                          a core and an adapter on the in-memory log
  trunkline demo -bus kafka-embedded://   the same over the Kafka protocol
  trunkline dev                           a broker for examples/core and examples/adapter
  trunkline services                      who serves what on a bus, and how that goes
  trunkline call greeter Greet '{}'       a call with JSON
  trunkline reply-topics list             the reply topics of clients, dead ones too
  trunkline dlq list orders.dead          what could not be handled, and why
  trunkline demo -help                    more about a command

` + exitHelp,
		FlagSet:     flag.NewFlagSet("trunkline", flag.ContinueOnError),
		Subcommands: []*ffcli.Command{demoCommand(stdout, stderr), devCommand(stdout), servicesCommand(stdout), callCommand(stdout), replyTopicsCommand(stdout), dlqCommand(stdout, stderr), versionCommand(stdout)},
	}
	root.Exec = func(_ context.Context, args []string) error {
		if len(args) > 0 {
			names := make([]string, len(root.Subcommands))
			for i, c := range root.Subcommands {
				names[i] = c.Name
			}
			return usageError("unknown command %q: there are %s", args[0], strings.Join(names, ", "))
		}
		root.FlagSet.SetOutput(stderr)
		root.FlagSet.Usage()
		return &exitError{code: exitUsage}
	}
	return root
}

// noArguments refuses what a command has no use for, rather than ignore it.
func noArguments(args []string) error {
	if len(args) > 0 {
		return usageError("%q is not a flag: flags begin with - and go before anything else", args[0])
	}
	return nil
}
