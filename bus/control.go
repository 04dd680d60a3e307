package bus

import (
	"errors"
	"time"
)

// control is an error by which a handler says more than "not acknowledged".
type control struct {
	verb  verb
	after time.Duration
	err   error
}

type verb uint8

const (
	verbRetry verb = iota
	verbDeadLetter
	verbDrop
	verbStop
	verbLater
)

func (c *control) Error() string {
	what := [...]string{verbRetry: "retry", verbDeadLetter: "dead-letter", verbDrop: "drop", verbStop: "stop",
		verbLater: "to be settled later, which takes a subscription with SettleLater"}[c.verb]
	if c.err == nil {
		return what
	}
	return what + ": " + c.err.Error()
}

func (c *control) Unwrap() error { return c.err }

// Retry asks for the message again after this time instead of the back-off's.
// cause may be nil.
func Retry(after time.Duration, cause error) error {
	return &control{verb: verbRetry, after: max(after, 0), err: cause}
}

// DeadLetter asks that the message be published to the subscription's dead-letter
// topic, with the cause, and acknowledged once that is acknowledged. Until then it
// is unacknowledged, so nothing is lost. Without a dead-letter topic it is a Nack.
func DeadLetter(cause error) error { return &control{verb: verbDeadLetter, err: cause} }

// Drop acknowledges the message although it was not handled; hooks see the cause.
func Drop(cause error) error { return &control{verb: verbDrop, err: cause} }

// Stop ends the subscription with the cause as its Err. The message is not
// acknowledged.
func Stop(cause error) error { return &control{verb: verbStop, err: cause} }

func controlOf(err error) (*control, bool) { return errors.AsType[*control](err) }

// Answer is what a handler's return asks for.
type Answer uint8

// The answers.
const (
	// Ack: nil.
	Ack Answer = iota
	// Nack: an error that says no more.
	Nack
	// AnswerRetry, AnswerDeadLetter, AnswerDrop and AnswerStop: the errors that Retry,
	// DeadLetter, Drop and Stop make, or errors that wrap one.
	AnswerRetry
	AnswerDeadLetter
	AnswerDrop
	AnswerStop
)

// String returns the answer's name.
func (a Answer) String() string {
	switch a {
	case Ack:
		return "ack"
	case Nack:
		return "nack"
	case AnswerRetry:
		return "retry"
	case AnswerDeadLetter:
		return "dead-letter"
	case AnswerDrop:
		return "drop"
	case AnswerStop:
		return "stop"
	default:
		return "invalid"
	}
}

// AnswerOf returns what a handler asks for by returning err, and the cause that was
// given with Retry, DeadLetter, Drop or Stop; otherwise the cause is err itself. It is
// for what stands between a bus and a handler.
func AnswerOf(err error) (Answer, error) {
	if err == nil {
		return Ack, nil
	}
	ctl, ok := controlOf(err)
	if !ok || ctl.verb == verbLater {
		return Nack, err
	}
	return [...]Answer{verbRetry: AnswerRetry, verbDeadLetter: AnswerDeadLetter, verbDrop: AnswerDrop, verbStop: AnswerStop}[ctl.verb], ctl.err
}
