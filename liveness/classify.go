package liveness

import "github.com/trunkline/trunkline/bus"

// Meaning is what the outcome of an operation says about the broker.
type Meaning uint8

// The meanings.
const (
	// Nothing: it is about the message, the topic or the caller, or we are closing.
	Nothing Meaning = iota
	// Life: the broker answered.
	Life
	// Doubt: may have come of a lost broker, and as well of a slow one or of an
	// impatient caller. Worth a probe, never a verdict.
	Doubt
	// Loss: the broker did not answer, as far as is known. Worth a probe; where there
	// is none to be had, two of them are a verdict.
	Loss
	// Refusal: the broker does not accept our credentials.
	Refusal
)

var meaningNames = [...]string{"nothing", "life", "doubt", "loss", "refusal"}

// String returns the meaning's name.
func (m Meaning) String() string {
	if int(m) < len(meaningNames) {
		return meaningNames[m]
	}
	return "invalid"
}

// meanings is the whole of the classification; what is not listed means Nothing.
var meanings = [...]Meaning{
	// Errors that no transport could classify: foreign Pub/Subs have little else to
	// say when their broker is gone.
	bus.CodeUnknown:        Loss,
	bus.CodeUnavailable:    Loss,
	bus.CodeOutcomeUnknown: Loss,

	// Nothing was sent for lack of room or time: a full buffer behind a dead
	// connection looks like this, a context that was over before the call too.
	bus.CodeDeadlineExceeded:  Doubt,
	bus.CodeResourceExhausted: Doubt,

	bus.CodeUnauthenticated: Refusal,

	// An answer, perhaps; but some of these are given from memory, without the broker.
	bus.CodeNotFound:         Nothing,
	bus.CodeAlreadyExists:    Nothing,
	bus.CodePermissionDenied: Nothing,
	bus.CodeOutOfRange:       Nothing,
	bus.CodeRevoked:          Nothing,

	bus.CodeInvalidArgument: Nothing,
	bus.CodeUnsupported:     Nothing,
	bus.CodeTooLarge:        Nothing,
	bus.CodeUndecodable:     Nothing,
	bus.CodeCanceled:        Nothing,
	bus.CodeClosed:          Nothing,
	bus.CodeInternal:        Nothing,
}

// MeaningOf classifies an operation's outcome by its [bus.Code]; nil is Life.
func MeaningOf(err error) Meaning {
	if err == nil {
		return Life
	}
	if code := bus.CodeOf(err); int(code) < len(meanings) {
		return meanings[code]
	}
	return Nothing
}
