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

// format makes a node's data folder ready for its first start.
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
		return fmt.Errorf("format the storage of node %d: %w\n%s", n.ID, err, bytes.TrimSpace(out))
	}
	return nil
}

// launch starts a node's process in a session of its own, so that neither this
// command's end nor an interrupt from the terminal reaches it. The process id
// is in n when it returns.
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
	// Nobody waits for it here: it outlives this command. Should it end before
	// that, process sees a zombie and calls it stopped.
	_ = cmd.Process.Release()
	n.awaitCommandLine()
	return nil
}

// awaitCommandLine waits until a process that was just made has its command line, or has
// ended: whoever starts it is told a moment before the system shows that, and process
// would call it stopped.
func (n node) awaitCommandLine() {
	for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); time.Sleep(time.Millisecond) {
		if args, stat := inspect(n.PID); args != "" || stat == "" || strings.HasPrefix(stat, "Z") {
			return
		}
	}
}

// process says how the node's process is. A process id is used again after its
// process has gone, so it counts only with the node's own command line.
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

// inspect returns a process's command line and state letter, from /proc where
// there is one. Both are empty when the process has gone.
func inspect(pid int) (args, stat string) {
	proc := filepath.Join("/proc", strconv.Itoa(pid))
	if raw, err := os.ReadFile(filepath.Join(proc, "cmdline")); err == nil {
		line, _ := os.ReadFile(filepath.Join(proc, "stat"))
		// The state follows the name, which is in parentheses and may hold any.
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

// signal sends sig to the node's process; to a stopped one is an error.
func (n node) signal(sig syscall.Signal) error {
	if n.process() == stopped {
		return fmt.Errorf("node %d is not running: start it with cluster start %d", n.ID, n.ID)
	}
	if err := syscall.Kill(n.PID, sig); err != nil && !errors.Is(err, syscall.ESRCH) {
		return fmt.Errorf("send %v to node %d (process %d): %w", sig, n.ID, n.PID, err)
	}
	return nil
}

// awaitStopped waits until no node has a process any more.
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

// poll calls f until it returns nil or ctx ends, and then returns f's last
// error with the cause.
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

// finalError ends a poll: waiting longer will not help.
type finalError struct{ error }

func (e finalError) Unwrap() error { return e.error }

// logTail returns the end of what a node has said, for an error message.
func (n node) logTail() string {
	const most = 1500
	var tail []string
	for _, path := range []string{n.outputPath(), n.logPath()} {
		raw, err := os.ReadFile(path)
		if err != nil || len(raw) == 0 {
			continue
		}
		tail = append(tail, fmt.Sprintf("--- end of %s\n%s", path, bytes.TrimSpace(raw[max(0, len(raw)-most):])))
	}
	return strings.Join(tail, "\n")
}
