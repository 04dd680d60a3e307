package devices

import (
	"context"
	"errors"
	"fmt"
	"time"

	"google.golang.org/grpc/codes"

	"github.com/trunkline/trunkline/bus"
	"github.com/trunkline/trunkline/rpc"
)

// serve creates the topic and runs the server on it until ctx ends. If no broker is available
// yet, serve waits for one. It returns when the server is ready. The channel served then
// reports the end of the server.
func serve(ctx context.Context, b *bus.Bus, server *rpc.Server, topic bus.TopicSpec) (served <-chan error, err error) {
	for {
		try, cancel := context.WithTimeout(ctx, 10*time.Second)
		err := b.EnsureTopic(try, topic)
		cancel()
		if err == nil {
			return run(ctx, server, topic.Name)
		}
		switch bus.CodeOf(err) {
		case bus.CodeUnavailable, bus.CodeDeadlineExceeded, bus.CodeOutcomeUnknown:
		default:
			return nil, err
		}
		if !sleep(ctx, 250*time.Millisecond) {
			return nil, err
		}
	}
}

func run(ctx context.Context, server *rpc.Server, topic string) (<-chan error, error) {
	if err := server.Listen(topic); err != nil {
		return nil, err
	}
	served := make(chan error, 1)
	go func() { served <- server.Run(ctx) }()
	return served, server.Ready(ctx)
}

// ended returns the error of a server that has ended, or nil if ctx ended it.
func ended(ctx context.Context, topic string, err error) error {
	if ctx.Err() != nil {
		return err
	}
	return fmt.Errorf("devices: the server no longer serves %s: %w", topic, err)
}

// isTemporary reports whether a failed call may succeed if it is repeated: the server was
// not reached, did not answer in time, or has not started yet. Steps are idempotent, so the
// call may be repeated even if it was handled.
func isTemporary(err error) bool {
	e, ok := errors.AsType[*rpc.Error](err)
	if !ok {
		return false
	}
	switch e.Code() {
	case codes.Unavailable, codes.DeadlineExceeded, codes.ResourceExhausted, codes.Aborted:
		return true
	case codes.Unimplemented, codes.Unknown: // in local errors: the topic does not exist yet, or the outcome is unknown
		return !e.Remote()
	default:
		return false
	}
}

// orNil returns err. If ctx has ended, it returns nil, because the end of ctx causes err.
func orNil(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return nil
	}
	return err
}

func sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

func orElse[T comparable](v, otherwise T) T {
	var zero T
	if v == zero {
		return otherwise
	}
	return v
}
