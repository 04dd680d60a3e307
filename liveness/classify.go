package liveness

import "github.com/trunkline/trunkline/bus"

// meaning is what the outcome of an operation says about the broker.
type meaning uint8

const (
	// nothing: the outcome is about the message, the topic or the caller, or the bus is
	// being closed.
	nothing meaning = iota
	// life: the broker answered.
	life
	// doubt: the broker may be lost, or slow, or the caller's deadline was short. It
	// causes a ping, and never makes the bus not live by itself.
	doubt
	// loss: the broker probably did not answer. It causes a ping. Where pings are
	// unsupported, two losses make the bus not live.
	loss
	// refusal: the broker rejects the credentials.
	refusal
)

// meanings classifies every code; a code that is not listed means nothing.
var meanings = [...]meaning{
	// CodeUnknown is a loss, too: a foreign Pub/Sub often returns an error without a code
	// when its broker is lost.
	bus.CodeUnknown:        loss,
	bus.CodeUnavailable:    loss,
	bus.CodeOutcomeUnknown: loss,

	// Nothing was sent, for lack of space or time. A full buffer behind a dead connection
	// looks like this, and so does a context that had ended before the call.
	bus.CodeDeadlineExceeded:  doubt,
	bus.CodeResourceExhausted: doubt,

	bus.CodeUnauthenticated: refusal,

	// The broker may have answered with these. But a transport returns some of them from
	// its cache, without asking the broker, so they do not prove life.
	bus.CodeNotFound:         nothing,
	bus.CodeAlreadyExists:    nothing,
	bus.CodePermissionDenied: nothing,
	bus.CodeOutOfRange:       nothing,
	bus.CodeRevoked:          nothing,

	bus.CodeInvalidArgument: nothing,
	bus.CodeUnsupported:     nothing,
	bus.CodeTooLarge:        nothing,
	bus.CodeUndecodable:     nothing,
	bus.CodeCanceled:        nothing,
	bus.CodeClosed:          nothing,
	bus.CodeInternal:        nothing,
}

// meaningOf classifies the outcome of an operation by its [bus.Code]; nil is life.
func meaningOf(err error) meaning {
	if err == nil {
		return life
	}
	if code := bus.CodeOf(err); int(code) < len(meanings) {
		return meanings[code]
	}
	return nothing
}
