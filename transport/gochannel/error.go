package gochannel

import (
	"context"
	"fmt"

	"github.com/trunkline/trunkline/bus/driver"
)

// waitError is for a wait that ctx ended before anything was done.
func waitError(op, topic string, ctx context.Context) error {
	err := ctx.Err()
	if cause := context.Cause(ctx); cause != nil && cause != err {
		err = fmt.Errorf("%w: %w", err, cause)
	}
	return &driver.Error{Code: driver.ContextCode(ctx.Err()), Op: op, Transport: name, Topic: topic, Err: err}
}

func closedError(op, topic string) error {
	return &driver.Error{Code: driver.CodeClosed, Op: op, Transport: name, Topic: topic, Reason: "the transport was closed"}
}

func emptyTopic(op string) error {
	return &driver.Error{Code: driver.CodeInvalidArgument, Op: op, Transport: name, Reason: "the topic is empty: name one"}
}

func unsupported(op, topic, reason string) error {
	return &driver.Error{Code: driver.CodeUnsupported, Op: op, Transport: name, Topic: topic, Reason: reason}
}
