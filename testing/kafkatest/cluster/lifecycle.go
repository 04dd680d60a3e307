//go:build unix

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"text/tabwriter"
	"time"
)

// shutdownTimeout is how long down waits for nodes before it kills them. A node usually
// needs less than a second. A node without a quorum would need minutes.
const shutdownTimeout = 5 * time.Second

func up(ctx context.Context, c *command, stdout io.Writer, progress func(string, ...any)) error {
	if _, err := os.Stat(filepath.Join(c.dir, stateFile)); err == nil {
		return fmt.Errorf("there already is a cluster in %s: stop it with cluster down, or set another folder with -dir", c.dir)
	}
	java, err := findJava()
	if err != nil {
		return err
	}
	libs, err := fetch(ctx, c.cache, c.version, progress)
	if err != nil {
		return err
	}
	s, err := newState(c.dir, c.version, libs, c.nodes, c.secure)
	if err != nil {
		return err
	}
	if err := createNodes(ctx, java, s, progress); err != nil {
		// The caller's context may have ended, so the clean-up has its own.
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 4*shutdownTimeout)
		defer cancel()
		return errors.Join(err, down(ctx, s, progress))
	}
	fmt.Fprintf(stdout, "export TRUNKLINE_KAFKA=%s\n", s.addrs())
	fmt.Fprintf(stdout, "export TRUNKLINE_KAFKA_CLUSTER=%s\n", shellQuote(s.dir))
	if s.secure() {
		fmt.Fprintf(stdout, "export TRUNKLINE_KAFKA_SECURE=%s\n", shellQuote(s.securePath(secureFile)))
	}
	return nil
}

// createNodes writes the files of a new cluster, formats the nodes' storage and starts
// them.
func createNodes(ctx context.Context, java string, s *state, progress func(string, ...any)) error {
	began := time.Now()
	if err := write(s); err != nil {
		return err
	}
	var formatting sync.WaitGroup
	failures := make([]error, len(s.Nodes))
	for i := range s.Nodes {
		formatting.Go(func() { failures[i] = format(ctx, java, s, &s.Nodes[i]) })
	}
	formatting.Wait()
	if err := errors.Join(failures...); err != nil {
		return err
	}
	progress("formatted in %v", since(began))
	nodes, err := s.nodesByID(nodeIDs(s.Nodes))
	if err != nil {
		return err
	}
	return start(ctx, s, nodes, progress)
}

func write(s *state) error {
	for _, n := range s.Nodes {
		if err := os.MkdirAll(n.dir, 0o755); err != nil {
			return fmt.Errorf("create the folder of node %d: %w", n.ID, err)
		}
		if err := os.WriteFile(n.propertiesPath(), []byte(properties(n, s)), 0o600); err != nil {
			return fmt.Errorf("write the configuration of node %d: %w", n.ID, err)
		}
	}
	if err := os.WriteFile(filepath.Join(s.dir, loggingFile), []byte(logging), 0o644); err != nil {
		return fmt.Errorf("write the logging configuration: %w", err)
	}
	if s.secure() {
		if err := writeCredentials(s); err != nil {
			return err
		}
	}
	return s.save()
}

// shellQuote quotes a text as one word of a shell command.
func shellQuote(text string) string { return "'" + strings.ReplaceAll(text, "'", `'\''`) + "'" }

// start starts stopped nodes and waits until each of them answers.
func start(ctx context.Context, s *state, nodes []*node, progress func(string, ...any)) error {
	java, err := findJava()
	if err != nil {
		return err
	}
	for _, n := range nodes {
		if n.process() != stopped {
			return fmt.Errorf("node %d is already running (process %d)", n.ID, n.PID)
		}
	}
	began := time.Now()
	for _, n := range nodes {
		if err := launch(java, s, n); err != nil {
			return err
		}
		// Saved after each node, so that down finds all processes if a later step fails.
		if err := s.save(); err != nil {
			return err
		}
	}
	for _, n := range nodes {
		if err := awaitAnswer(ctx, n, nodes); err != nil {
			return err
		}
	}
	progress("node %s answering after %v", joinIDs(nodes), since(began))
	return nil
}

// awaitAnswer waits until n answers and its metadata contains all of nodes. It returns an
// error if the process of n ends.
func awaitAnswer(ctx context.Context, n *node, nodes []*node) error {
	err := poll(ctx, func() error {
		if n.process() == stopped {
			return finalError{errors.New("its process has ended")}
		}
		ids, err := brokerIDs(n.addr())
		if err != nil {
			return err
		}
		for _, other := range nodes {
			if !ids[int32(other.ID)] {
				return fmt.Errorf("its metadata does not contain node %d yet", other.ID)
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("node %d does not answer at %s: %w\n%s", n.ID, n.addr(), err, n.logTail())
	}
	return nil
}

// end sends a signal to nodes and waits until they have ended.
func end(ctx context.Context, nodes []*node, sig syscall.Signal, done string, progress func(string, ...any)) error {
	if err := signalAll(nodes, sig, done, progress); err != nil {
		return err
	}
	return awaitStopped(ctx, nodes)
}

func signalAll(nodes []*node, sig syscall.Signal, done string, progress func(string, ...any)) error {
	for _, n := range nodes {
		if err := n.signal(sig); err != nil {
			return err
		}
		progress("node %d %s (process %d)", n.ID, done, n.PID)
	}
	return nil
}

// down ends all processes, by SIGKILL after shutdownTimeout, and removes the data.
func down(ctx context.Context, s *state, progress func(string, ...any)) error {
	began := time.Now()
	var alive []*node
	for i := range s.Nodes {
		if n := &s.Nodes[i]; n.process() != stopped {
			alive = append(alive, n)
		}
	}
	for _, n := range alive {
		// A paused process handles SIGTERM only after SIGCONT.
		errs := errors.Join(n.signal(syscall.SIGTERM), n.signal(syscall.SIGCONT))
		if errs != nil && n.process() != stopped {
			return errs
		}
	}
	limited, cancel := context.WithTimeoutCause(ctx, shutdownTimeout, fmt.Errorf("not within %v", shutdownTimeout))
	defer cancel()
	if err := awaitStopped(limited, alive); err != nil {
		progress("%v: sending SIGKILL", err)
		for _, n := range alive {
			if err := n.signal(syscall.SIGKILL); err != nil && n.process() != stopped {
				return err
			}
		}
		if err := awaitStopped(ctx, alive); err != nil {
			return err
		}
	}
	if err := s.remove(); err != nil {
		return err
	}
	progress("stopped %d running nodes and removed %s in %v", len(alive), s.dir, since(began))
	return nil
}

// errNotAnswering makes status exit with 1. The table that it has printed says why.
var errNotAnswering = errors.New("not every node answers")

func status(ctx context.Context, s *state, stdout io.Writer) error {
	w := tabwriter.NewWriter(stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintf(w, "Kafka %s in %s\nNODE\tADDRESS\tPROCESS\tSTATE\n", s.Kafka, s.dir)
	healthy := true
	for _, n := range s.Nodes {
		state := "stopped"
		pid := "-"
		if p := n.process(); p != stopped {
			pid = fmt.Sprint(n.PID)
			state = "paused"
			if p == running {
				state = "starting"
				if ids, err := brokerIDs(n.addr()); err == nil {
					state = fmt.Sprintf("answering, in contact with %d of %d brokers", len(ids), len(s.Nodes))
					healthy = healthy && len(ids) == len(s.Nodes)
				} else {
					healthy = false
				}
			}
		}
		healthy = healthy && state != "stopped" && state != "paused"
		fmt.Fprintf(w, "%d\t%s\t%s\t%s\n", n.ID, n.addr(), pid, state)
	}
	if err := w.Flush(); err != nil {
		return fmt.Errorf("print the status: %w", err)
	}
	if !healthy {
		return errNotAnswering
	}
	return context.Cause(ctx)
}

func nodeIDs(nodes []node) []int {
	all := make([]int, len(nodes))
	for i, n := range nodes {
		all[i] = n.ID
	}
	return all
}

func joinIDs(nodes []*node) string {
	all := make([]string, len(nodes))
	for i, n := range nodes {
		all[i] = fmt.Sprint(n.ID)
	}
	return strings.Join(all, ", ")
}

func since(t time.Time) time.Duration { return time.Since(t).Round(100 * time.Millisecond) }
