package gochannel

import (
	"context"
	"errors"
	"fmt"

	"github.com/trunkline/trunkline/bus/driver"
)

// contextError reports that ctx ended before the operation had an effect.
func contextError(op, topic string, ctx context.Context) error {
	err := ctx.Err()
	if cause := context.Cause(ctx); cause != nil && !errors.Is(err, cause) {
		err = fmt.Errorf("%w: %w", err, cause)
	}
	return &driver.Error{Code: driver.ContextCode(ctx.Err()), Op: op, Transport: name, Topic: topic, Err: err}
}

func closedError(op, topic string) error {
	return &driver.Error{Code: driver.CodeClosed, Op: op, Transport: name, Topic: topic, Reason: "the transport is closed"}
}

func emptyTopicError(op string) error {
	return invalidArgument(op, "the topic is empty: name one")
}

func invalidArgument(op, reason string) error {
	return &driver.Error{Code: driver.CodeInvalidArgument, Op: op, Transport: name, Reason: reason}
}

func unsupported(op, topic, reason string) error {
	return &driver.Error{Code: driver.CodeUnsupported, Op: op, Transport: name, Topic: topic, Reason: reason}
}
