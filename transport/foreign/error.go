package foreign

import (
	"context"
	"errors"
	"net"

	"github.com/trunkline/trunkline/bus/driver"
)

// codeOf returns the code for an error of the Pub/Sub, by the type of the error. A failure
// to dial is Unavailable, because nothing was sent. Other errors have no known meaning.
func codeOf(err error) driver.Code {
	if e, ok := errors.AsType[*driver.Error](err); ok {
		return e.Code
	}
	if e, ok := errors.AsType[*net.OpError](err); ok && e.Op == "dial" {
		return driver.CodeUnavailable
	}
	return driver.CodeUnknown
}

// permanent reports whether a retry cannot succeed.
func permanent(err error) bool {
	switch codeOf(err) {
	case driver.CodeInvalidArgument, driver.CodeNotFound, driver.CodeUnsupported, driver.CodeClosed, driver.CodeUnauthenticated, driver.CodePermissionDenied:
		return true
	default:
		return false
	}
}

func (t *Transport) newError(code driver.Code, op, topic, reason string, err error) error {
	return &driver.Error{Code: code, Op: op, Transport: t.opts.caps.Name, Topic: topic, Reason: reason, Err: err}
}

// contextError reports that ctx ended before the operation had an effect.
func (t *Transport) contextError(op, topic string, ctx context.Context) error {
	return t.newError(driver.ContextCode(ctx.Err()), op, topic, "", ctx.Err())
}

func (t *Transport) closedError(op, topic string) error {
	return t.newError(driver.CodeClosed, op, topic, "the transport is closed", nil)
}

func (t *Transport) noAdminError(op, topic string) error {
	return t.newError(driver.CodeUnsupported, op, topic, "a watermill Pub/Sub does not have this operation", nil)
}
