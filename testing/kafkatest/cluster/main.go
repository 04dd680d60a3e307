//go:build unix

// Command cluster runs a real Apache Kafka on this machine, for tests and
// measurements: one or three KRaft nodes as local Java processes, from Maven
// Central. It needs java (17 or later) and mvn; no container, no root.
//
//	eval "$(go run ./testing/kafkatest/cluster up -nodes 1)"
//	go test ./transport/kafka/...
//	go run ./testing/kafkatest/cluster down
//
// up exports TRUNKLINE_KAFKA and TRUNKLINE_KAFKA_SECURE, which package kafkatb
// reads, and TRUNKLINE_KAFKA_CLUSTER, by which package chaos finds what to break. The
// other commands are for faults: kill, stop, start, pause and resume take node numbers.
//
// Listeners are on 127.0.0.1: one in plain text, which the brokers use among
// themselves, and, unless -secure=false, one with TLS (SSL), one that requires a
// client's certificate (MTLS), and two with SASL: PLAIN, SCRAM-SHA-256, SCRAM-SHA-512
// and OAUTHBEARER, without and with TLS. The CA, the certificates, the user's password
// and the key that signs tokens are made by up and gone with down; the file that
// TRUNKLINE_KAFKA_SECURE names says where they are (kafkatest.LoadSecure reads it).
//
// Topics are never created by accident. A lost leader is replaced after about three
// seconds instead of Kafka's nine.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"syscall"
	"time"
)

const (
	exitOK     = 0
	exitFailed = 1
	exitUsage  = 2
)

const usage = `usage: cluster <command> [flags] [node ...]

commands:
  up             fetch Kafka when it is not there, start the cluster, print
                 export TRUNKLINE_KAFKA=..., TRUNKLINE_KAFKA_CLUSTER=...
                 and TRUNKLINE_KAFKA_SECURE=...
  down           stop the cluster and remove its data; fine when there is none
  status         show each node: stopped, paused, starting, or answering
  kill N ...     stop nodes as a crash does (SIGKILL)
  stop N ...     end nodes as an orderly restart does (SIGTERM), and wait for it
  start N ...    start stopped nodes again, on their ports and data
  pause N ...    freeze nodes (SIGSTOP): connections stay open, nothing answers
  resume N ...   let paused nodes go on (SIGCONT)

flags:
  -dir DIR       where state and data are kept (default %s)
  -timeout D     how long a command may take (default 2m0s)
  -nodes N       up: 1 or 3 nodes (default 3)
  -secure=BOOL   up: listeners with TLS and SASL, too (default true)
  -kafka V       up: the Kafka version (default %s)
  -cache DIR     up: where fetched jars are kept (default: the user's cache folder)

exit status: 0 done, 1 failed, 2 wrong usage; status: 1 unless every node answers
`

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

type command struct {
	name    string
	dir     string
	cache   string
	version string
	nodes   int
	secure  bool
	timeout time.Duration
	ids     []int
}

// errUsage marks what the user should look up in the usage text.
var errUsage = errors.New("run cluster --help for usage")

func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	cmd, err := parse(args)
	if errors.Is(err, flag.ErrHelp) {
		fmt.Fprintf(stdout, usage, defaultDir(), defaultVersion)
		return exitOK
	}
	if err == nil {
		ctx, cancel := context.WithTimeoutCause(ctx, cmd.timeout, fmt.Errorf("not done within %v (see -timeout)", cmd.timeout))
		defer cancel()
		err = cmd.run(ctx, stdout, stderr)
	}
	switch {
	case err == nil:
		return exitOK
	case errors.Is(err, errUsage):
		fmt.Fprintln(stderr, "cluster:", err)
		return exitUsage
	default:
		fmt.Fprintln(stderr, "cluster:", err)
		return exitFailed
	}
}

// parse takes flags before, between and after the node numbers.
func parse(args []string) (*command, error) {
	if len(args) == 0 {
		return nil, fmt.Errorf("no command given: %w", errUsage)
	}
	switch args[0] {
	case "-h", "-help", "--help", "help":
		return nil, flag.ErrHelp
	}
	c := &command{name: args[0]}
	fs := flag.NewFlagSet(c.name, flag.ContinueOnError)
	fs.SetOutput(io.Discard)
	fs.StringVar(&c.dir, "dir", defaultDir(), "")
	fs.DurationVar(&c.timeout, "timeout", 2*time.Minute, "")
	if c.name == "up" {
		fs.StringVar(&c.cache, "cache", "", "")
		fs.StringVar(&c.version, "kafka", defaultVersion, "")
		fs.IntVar(&c.nodes, "nodes", 3, "")
		fs.BoolVar(&c.secure, "secure", true, "")
	}
	for rest := args[1:]; ; {
		if err := fs.Parse(rest); err != nil {
			if errors.Is(err, flag.ErrHelp) {
				return nil, err
			}
			return nil, fmt.Errorf("%s: %w: %w", c.name, err, errUsage)
		}
		if fs.NArg() == 0 {
			break
		}
		id, err := strconv.Atoi(fs.Arg(0))
		if err != nil || id < 1 {
			return nil, fmt.Errorf("%s: %q is not a node number: %w", c.name, fs.Arg(0), errUsage)
		}
		c.ids = append(c.ids, id)
		rest = fs.Args()[1:]
	}
	return c, c.check()
}

func (c *command) check() error {
	switch c.name {
	case "up", "down", "status":
		if len(c.ids) > 0 {
			return fmt.Errorf("%s takes no node numbers: %w", c.name, errUsage)
		}
	case "kill", "stop", "start", "pause", "resume":
		if len(c.ids) == 0 {
			return fmt.Errorf("%s needs the number of at least one node: %w", c.name, errUsage)
		}
	default:
		return fmt.Errorf("unknown command %q: %w", c.name, errUsage)
	}
	if c.name == "up" && c.nodes != 1 && c.nodes != 3 {
		return fmt.Errorf("up: -nodes %d: want 1 or 3: %w", c.nodes, errUsage)
	}
	if c.name == "up" && !versionPattern.MatchString(c.version) {
		return fmt.Errorf("up: -kafka %q: want a version such as %s: %w", c.version, defaultVersion, errUsage)
	}
	if c.timeout <= 0 {
		return fmt.Errorf("%s: -timeout %v: want a positive duration: %w", c.name, c.timeout, errUsage)
	}
	dir, err := filepath.Abs(c.dir)
	if err != nil {
		return fmt.Errorf("%s: -dir %q: %w", c.name, c.dir, err)
	}
	c.dir = dir
	return nil
}

func (c *command) run(ctx context.Context, stdout, stderr io.Writer) error {
	progress := func(format string, args ...any) { fmt.Fprintf(stderr, format+"\n", args...) }
	if c.name == "up" {
		unlock, err := lock(c.dir)
		if err != nil {
			return err
		}
		defer unlock()
		return up(ctx, c, stdout, progress)
	}
	if _, err := os.Stat(filepath.Join(c.dir, stateFile)); errors.Is(err, os.ErrNotExist) {
		if c.name == "down" {
			progress("no cluster in %s", c.dir)
			return nil
		}
		return fmt.Errorf("no cluster in %s: start one with cluster up, or name another folder with -dir", c.dir)
	}
	if c.name != "status" { // which only reads, and is of use while up is at work
		unlock, err := lock(c.dir)
		if err != nil {
			return err
		}
		defer unlock()
	}
	s, err := load(c.dir)
	if err != nil {
		return err
	}
	switch c.name {
	case "down":
		return down(ctx, s, progress)
	case "status":
		return status(ctx, s, stdout)
	}
	nodes, err := s.pick(c.ids)
	if err != nil {
		return err
	}
	switch c.name {
	case "kill":
		return end(ctx, nodes, syscall.SIGKILL, "killed", progress)
	case "stop":
		return end(ctx, nodes, syscall.SIGTERM, "stopped", progress)
	case "pause":
		return signalAll(nodes, syscall.SIGSTOP, "paused", progress)
	case "resume":
		return signalAll(nodes, syscall.SIGCONT, "resumed", progress)
	default:
		return start(ctx, s, nodes, progress)
	}
}

func defaultDir() string { return filepath.Join(os.TempDir(), "trunkline-kafka") }
