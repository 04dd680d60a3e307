package chaos

import (
	"context"
	"fmt"
	"os/exec"
	"strconv"
	"strings"
	"time"
)

// Cluster is a running cluster of the cluster command, to be broken. Its methods may
// not be called side by side: the command refuses that.
type Cluster struct {
	// Command is the path of the built command.
	Command string
	// Dir is the folder that the command was given with -dir.
	Dir string
}

// Kill ends nodes as a crash does (SIGKILL) and returns when they are gone.
func (c Cluster) Kill(ctx context.Context, nodes ...int32) error { return c.do(ctx, "kill", nodes) }

// Stop ends nodes in order (SIGTERM) and returns when they are gone.
func (c Cluster) Stop(ctx context.Context, nodes ...int32) error { return c.do(ctx, "stop", nodes) }

// Start starts nodes again and returns when each answers and knows the others named.
// They may be far from in sync then: see [Brokers.InSync].
func (c Cluster) Start(ctx context.Context, nodes ...int32) error { return c.do(ctx, "start", nodes) }

// Pause freezes nodes (SIGSTOP): their connections stay open, and nothing answers.
func (c Cluster) Pause(ctx context.Context, nodes ...int32) error { return c.do(ctx, "pause", nodes) }

// Resume lets paused nodes go on.
func (c Cluster) Resume(ctx context.Context, nodes ...int32) error {
	return c.do(ctx, "resume", nodes)
}

func (c Cluster) do(ctx context.Context, verb string, nodes []int32) error {
	args := []string{verb, "-dir", c.Dir}
	for _, n := range nodes {
		args = append(args, strconv.Itoa(int(n)))
	}
	cmd := exec.CommandContext(ctx, c.Command, args...)
	cmd.WaitDelay = time.Second
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("chaos: %s nodes %v of the cluster in %s: %w\n%s", verb, nodes, c.Dir, err, strings.TrimSpace(string(out)))
	}
	return nil
}
