package chaos

import (
	"context"
	"fmt"
	"os/exec"
	"strconv"
	"strings"
	"time"
)

// Cluster controls the nodes of a cluster that the command testing/kafkatest/cluster started. Its methods
// must not be called concurrently: the command rejects that.
type Cluster struct {
	// Command is the path of the executable.
	Command string
	// Dir is the folder of the cluster: the command's flag -dir.
	Dir string
}

// Kill kills nodes like a crash (SIGKILL), and returns when their processes have ended.
func (c Cluster) Kill(ctx context.Context, nodes ...int32) error { return c.do(ctx, "kill", nodes) }

// Stop shuts nodes down gracefully (SIGTERM), and returns when their processes have ended.
func (c Cluster) Stop(ctx context.Context, nodes ...int32) error { return c.do(ctx, "stop", nodes) }

// Start starts nodes again, and returns when each of them answers and reports the others. Their replicas
// may not be in sync yet: see [Brokers.WaitInSync].
func (c Cluster) Start(ctx context.Context, nodes ...int32) error { return c.do(ctx, "start", nodes) }

// Pause suspends nodes (SIGSTOP): their connections stay open, but they do not answer.
func (c Cluster) Pause(ctx context.Context, nodes ...int32) error { return c.do(ctx, "pause", nodes) }

// Resume continues paused nodes (SIGCONT).
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
