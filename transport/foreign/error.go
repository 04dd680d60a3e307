package foreign

import (
	"context"
	"errors"
	"net"

	"github.com/trunkline/trunkline/bus/driver"
)

// codeOf classifies an error of the Pub/Sub by its type. A failure to dial means
// that nothing was sent; of any other nothing is known.
func codeOf(err error) driver.Code {
	if e, ok := errors.AsType[*driver.Error](err); ok {
		return e.Code
	}
	if e, ok := errors.AsType[*net.OpError](err); ok && e.Op == "dial" {
		return driver.CodeUnavailable
	}
	return driver.CodeUnknown
}

// permanent says whether trying again can't help.
func permanent(err error) bool {
	switch codeOf(err) {
	case driver.CodeInvalidArgument, driver.CodeNotFound, driver.CodeUnsupported, driver.CodeClosed, driver.CodeUnauthenticated, driver.CodePermissionDenied:
		return true
	default:
		return false
	}
}

func (t *Transport) fail(code driver.Code, op, topic, reason string, err error) error {
	return &driver.Error{Code: code, Op: op, Transport: t.opts.caps.Name, Topic: topic, Reason: reason, Err: err}
}

// waitError is for a wait that ctx ended before anything was done.
func (t *Transport) waitError(op, topic string, ctx context.Context) error {
	return t.fail(driver.ContextCode(ctx.Err()), op, topic, "", ctx.Err())
}

func (t *Transport) closedError(op, topic string) error {
	return t.fail(driver.CodeClosed, op, topic, "the transport was closed", nil)
}

func (t *Transport) noAdmin(op, topic string) error {
	return t.fail(driver.CodeUnsupported, op, topic, "a watermill Pub/Sub has no such operation", nil)
}
