//go:build unix

package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

type processState int

const (
	stopped processState = iota
	paused
	running
)

// format formats the storage of a node before its first start.
func format(ctx context.Context, java string, s *state, n *node) error {
	args := []string{
		"-Xmx256m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1",
		"-Dlog4j2.configurationFile=" + filepath.Join(s.dir, loggingFile), "-Dtrunkline.log=" + n.logPath(),
		"-cp", filepath.Join(s.Libs, "*"),
		"kafka.tools.StorageTool", "format", "-t", s.ClusterID, "-c", n.propertiesPath(),
	}
	if s.secure() {
		for _, mechanism := range []string{"SCRAM-SHA-256", "SCRAM-SHA-512"} {
			args = append(args, "--add-scram", fmt.Sprintf("%s=[name=%s,password=%s]", mechanism, user, s.Password))
		}
	}
	cmd := exec.CommandContext(ctx, java, args...)
	cmd.WaitDelay = time.Second
	if out, err := cmd.CombinedOutput(); err != nil {
		if ctx.Err() != nil {
			err = context.Cause(ctx)
		}
		return fmt.Errorf("format the storage of node %d: %w\n%s", n.ID, err, bytes.TrimSpace(out))
	}
	return nil
}

// launch starts the process of a node and sets n.PID. The process has its own session, so
// it survives the end of this command and gets no interrupt from the terminal.
func launch(java string, s *state, n *node) error {
	output, err := os.OpenFile(n.outputPath(), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o644)
	if err != nil {
		return fmt.Errorf("start node %d: %w", n.ID, err)
	}
	defer output.Close()
	args := []string{
		"-Xms256m", "-Xmx512m", "-XX:+UseSerialGC",
		"-Dlog4j2.configurationFile=" + filepath.Join(s.dir, loggingFile), "-Dtrunkline.log=" + n.logPath(),
	}
	if s.secure() {
		args = append(args, "-Dorg.apache.kafka.sasl.oauthbearer.allowed.urls="+s.jwksURL())
	}
	cmd := exec.Command(java, append(args, "-cp", filepath.Join(s.Libs, "*"), "kafka.Kafka", n.propertiesPath())...)
	cmd.Dir = n.dir
	cmd.Stdout, cmd.Stderr = output, output
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start node %d: %w", n.ID, err)
	}
	n.PID = cmd.Process.Pid
	// This command does not wait for the process, which outlives the command. If the
	// process ends first, it becomes a zombie, and n.process returns stopped.
	_ = cmd.Process.Release()
	n.awaitCommandLine()
	return nil
}

// awaitCommandLine waits until the system shows the command line of a new process, or
// the process has ended. The command line can appear a moment after Start has returned.
// Until then n.process would return stopped.
func (n node) awaitCommandLine() {
	for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); time.Sleep(time.Millisecond) {
		if args, stat := inspect(n.PID); args != "" || stat == "" || strings.HasPrefix(stat, "Z") {
			return
		}
	}
}

// process returns the state of the node's process. The system can reuse a process ID, so
// process also compares the command line.
func (n node) process() processState {
	if n.PID == 0 {
		return stopped
	}
	args, stat := inspect(n.PID)
	switch {
	case !strings.Contains(args, n.propertiesPath()):
		return stopped
	case strings.HasPrefix(stat, "T"):
		return paused
	case strings.HasPrefix(stat, "Z"):
		return stopped
	}
	return running
}

// inspect returns the command line and the state letter of a process, from /proc if the
// system has it and else from ps. Both are empty if the process does not exist.
func inspect(pid int) (args, stat string) {
	proc := filepath.Join("/proc", strconv.Itoa(pid))
	if raw, err := os.ReadFile(filepath.Join(proc, "cmdline")); err == nil {
		line, _ := os.ReadFile(filepath.Join(proc, "stat"))
		// The state follows the name. The name is in parentheses and can contain any
		// character.
		if i := bytes.LastIndexByte(line, ')'); i >= 0 {
			stat = strings.TrimSpace(string(line[i+1:]))
		}
		return strings.ReplaceAll(string(raw), "\x00", " "), stat
	}
	ps := func(column string) string {
		out, err := exec.Command("ps", "-ww", "-o", column+"=", "-p", strconv.Itoa(pid)).Output()
		if err != nil {
			return ""
		}
		return strings.TrimSpace(string(out))
	}
	return ps("args"), ps("stat")
}

// signal sends sig to the node's process. It returns an error if the node is stopped.
func (n node) signal(sig syscall.Signal) error {
	if n.process() == stopped {
		return fmt.Errorf("node %d is not running: start it with cluster start %d", n.ID, n.ID)
	}
	if err := syscall.Kill(n.PID, sig); err != nil && !errors.Is(err, syscall.ESRCH) {
		return fmt.Errorf("send %v to node %d (process %d): %w", sig, n.ID, n.PID, err)
	}
	return nil
}

// awaitStopped waits until all nodes are stopped.
func awaitStopped(ctx context.Context, nodes []*node) error {
	return poll(ctx, func() error {
		for _, n := range nodes {
			if n.process() != stopped {
				return fmt.Errorf("node %d (process %d) has not ended", n.ID, n.PID)
			}
		}
		return nil
	})
}

// poll calls f until it returns nil or a finalError, or until ctx ends. It then returns
// the last error of f, with the cause of ctx.
func poll(ctx context.Context, f func() error) error {
	const pause = 100 * time.Millisecond
	for {
		err := f()
		var final finalError
		if err == nil || errors.As(err, &final) {
			return err
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%w: %w", err, context.Cause(ctx))
		case <-time.After(pause):
		}
	}
}

// finalError is an error that ends poll.
type finalError struct{ error }

func (e finalError) Unwrap() error { return e.error }

// logTail returns the end of a node's output and log, for an error message.
func (n node) logTail() string {
	const maxBytes = 1500
	var tail []string
	for _, path := range []string{n.outputPath(), n.logPath()} {
		raw, err := os.ReadFile(path)
		if err != nil || len(raw) == 0 {
			continue
		}
		tail = append(tail, fmt.Sprintf("--- end of %s\n%s", path, bytes.TrimSpace(raw[max(0, len(raw)-maxBytes):])))
	}
	return strings.Join(tail, "\n")
}
