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
	// causes a ping, and is never a verdict.
	doubt
	// loss: the broker did not answer, as far as is known. It causes a ping. Where pings
	// are unsupported, two losses are a verdict.
	loss
	// refusal: the broker rejects the credentials.
	refusal
)

// meanings classifies every code; a code that is not listed means nothing.
var meanings = [...]meaning{
	// No transport could classify these errors: a foreign Pub/Sub often says no more when
	// its broker is lost.
	bus.CodeUnknown:        loss,
	bus.CodeUnavailable:    loss,
	bus.CodeOutcomeUnknown: loss,

	// Nothing was sent, for lack of space or time. A full buffer behind a dead connection
	// looks like this, and so does a context that had ended before the call.
	bus.CodeDeadlineExceeded:  doubt,
	bus.CodeResourceExhausted: doubt,

	bus.CodeUnauthenticated: refusal,

	// These may be answers of the broker, but a transport gives some of them from memory,
	// without asking the broker.
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
