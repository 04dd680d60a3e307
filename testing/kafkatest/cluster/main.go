//go:build unix

// Command cluster runs a real Apache Kafka cluster on this machine, for tests and
// measurements. The cluster has one or three KRaft nodes, which are local Java
// processes. The command fetches Kafka from Maven Central. It needs java (17 or later)
// and mvn, but neither containers nor root.
//
//	eval "$(go run ./testing/kafkatest/cluster up -nodes 1)"
//	go test ./transport/kafka/...
//	go run ./testing/kafkatest/cluster down
//
// The command up prints the environment variables TRUNKLINE_KAFKA and
// TRUNKLINE_KAFKA_SECURE, which package kafkatb reads, and TRUNKLINE_KAFKA_CLUSTER,
// which package chaos uses to find the nodes. The commands kill, stop, start, pause and
// resume simulate faults. They take node numbers.
//
// All listeners are on 127.0.0.1. The plain-text listener is always there; the brokers
// use it among themselves. Unless -secure=false is given, there are four more: SSL (TLS),
// MTLS (TLS with a required client certificate), SASL_PLAINTEXT, and SASL_SSL. The SASL
// listeners support PLAIN, SCRAM-SHA-256, SCRAM-SHA-512 and OAUTHBEARER. The command up
// makes the CA, the certificates, the user's password and the key for signing tokens, and
// down removes them. TRUNKLINE_KAFKA_SECURE names the file that describes them;
// kafkatest.LoadSecure reads it.
//
// The brokers do not create topics automatically. They replace a lost leader after about
// three seconds; Kafka's default is nine.
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
  up             start a cluster; fetch Kafka first if it is not in the cache;
                 print TRUNKLINE_KAFKA, TRUNKLINE_KAFKA_CLUSTER and
                 TRUNKLINE_KAFKA_SECURE as shell commands
  down           stop the cluster and remove its data; succeeds if there is none
  status         show the state of each node: stopped, paused, starting or answering
  kill N ...     end nodes at once, like a crash (SIGKILL)
  stop N ...     shut nodes down in order (SIGTERM), and wait until they have ended
  start N ...    start stopped nodes again, with their ports and data
  pause N ...    freeze nodes (SIGSTOP): connections stay open, nothing answers
  resume N ...   continue paused nodes (SIGCONT)

flags:
  -dir DIR       folder for state and data (default %s)
  -timeout D     longest time for the command (default 2m0s)
  -nodes N       up: number of nodes, 1 or 3 (default 3)
  -secure=BOOL   up: add listeners with TLS and SASL (default true)
  -kafka V       up: version of Kafka (default %s)
  -cache DIR     up: folder for fetched jars (default: the user's cache folder)

exit status: 0 success; 1 failure, or status if a node does not answer; 2 wrong usage
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

// errUsage marks an error in the command line.
var errUsage = errors.New("run cluster --help for usage")

func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	cmd, err := parse(args)
	if errors.Is(err, flag.ErrHelp) {
		fmt.Fprintf(stdout, usage, defaultDir(), defaultVersion)
		return exitOK
	}
	if err == nil {
		ctx, cancel := context.WithTimeoutCause(ctx, cmd.timeout, fmt.Errorf("not done within %v (set a longer -timeout)", cmd.timeout))
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

// parse accepts flags before, between and after the node numbers.
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
		return fmt.Errorf("up: -nodes must be 1 or 3, got %d: %w", c.nodes, errUsage)
	}
	if c.name == "up" && !versionPattern.MatchString(c.version) {
		return fmt.Errorf("up: -kafka must be a version such as %[2]s, got %[1]q: %[3]w", c.version, defaultVersion, errUsage)
	}
	if c.timeout <= 0 {
		return fmt.Errorf("%s: -timeout must be greater than 0, got %v: %w", c.name, c.timeout, errUsage)
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
		return fmt.Errorf("no cluster in %s: start one with cluster up, or set another folder with -dir", c.dir)
	}
	if c.name != "status" { // status only reads, and is useful while up runs
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
	nodes, err := s.nodesByID(c.ids)
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
