package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"
)

// commandLimit bounds the run of a block.
const commandLimit = 5 * time.Minute

// execute runs the commands of a block with bash, which stops at the first that
// fails. It kills the processes that are still running after the limit.
func execute(ctx context.Context, root string, b block) error {
	ctx, cancel := context.WithTimeoutCause(ctx, commandLimit, fmt.Errorf("the block did not end within %v", commandLimit))
	defer cancel()
	script := b.code
	if b.language == "console" {
		if script = commandsOf(b.code); script == "" {
			return fmt.Errorf(`%s: a console block to run has no line that begins with "$ "`, b.place())
		}
	}
	cmd := exec.CommandContext(ctx, "bash", "-euo", "pipefail", "-c", script)
	cmd.Dir = root
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = 5 * time.Second
	out, err := cmd.CombinedOutput()
	if err == nil {
		return nil
	}
	if ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	return fmt.Errorf("%s: %w\n%s", b.place(), err, strings.TrimSpace(string(out)))
}

// runProgram runs a Go program and compares its output. Logs on standard error do not
// matter.
func runProgram(ctx context.Context, root string, s source) error {
	ctx, cancel := context.WithTimeoutCause(ctx, commandLimit, fmt.Errorf("not done within %v", commandLimit))
	defer cancel()
	dir, err := os.MkdirTemp("", "snippet-*")
	if err != nil {
		return fmt.Errorf("%s: %w", s.block.place(), err)
	}
	defer os.RemoveAll(dir)
	pkgs, overlay, err := overlaid(dir, root, []source{s})
	if err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, "go", append([]string{"run", "-overlay", overlay}, pkgs...)...)
	cmd.Dir = root
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = 5 * time.Second
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	if err != nil {
		return fmt.Errorf("%s: %w\n%s%s", s.block.place(), err, out, strings.TrimSpace(stderr.String()))
	}
	if got := strings.TrimSpace(string(out)); got != s.block.output {
		return fmt.Errorf("%s: the program printed %q, not %q", s.block.place(), got, s.block.output)
	}
	return nil
}

// commandsOf returns the commands of a console block: the lines that begin with
// "$ ", and those that continue them after a backslash.
func commandsOf(code string) string {
	var typed []string
	continued := false
	for line := range strings.SplitSeq(code, "\n") {
		command, isCommand := strings.CutPrefix(line, "$ ")
		if isCommand || continued {
			typed = append(typed, command)
			continued = strings.HasSuffix(command, `\`)
		}
	}
	return strings.Join(typed, "\n")
}
