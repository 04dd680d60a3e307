package main

import (
	"context"
	"fmt"
	"os/exec"
	"strings"
	"syscall"
	"time"
)

const commandLimit = 5 * time.Minute

// execute runs a block's commands with bash, stopping at the first that fails.
// Whatever they leave running is ended.
func execute(ctx context.Context, root string, b block) error {
	ctx, cancel := context.WithTimeoutCause(ctx, commandLimit, fmt.Errorf("not done within %v", commandLimit))
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

// commandsOf returns the lines of a console block that are typed, each with the
// lines a backslash continues it on.
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
