package delivery

import (
	"errors"
	"time"
)

// Answer is the kind of a handler's result.
type Answer uint8

// The answers.
const (
	// Ack: the handler returned nil.
	Ack Answer = iota
	// Nack: the handler returned an error that is not one of the following.
	Nack
	// Retry, DeadLetter, Drop and Stop: the handler returned an error that bus.RetryAfter,
	// bus.DeadLetter, bus.Drop or bus.Stop made, or an error that wraps one.
	Retry
	DeadLetter
	Drop
	Stop
	// Later: the handler returned ErrLater.
	Later
)

// String returns the answer's name.
func (a Answer) String() string {
	switch a {
	case Ack:
		return "ack"
	case Nack:
		return "nack"
	case Retry:
		return "retry"
	case DeadLetter:
		return "dead-letter"
	case Drop:
		return "drop"
	case Stop:
		return "stop"
	case Later:
		return "later"
	default:
		return "invalid"
	}
}

// Control is the error of bus.RetryAfter, bus.DeadLetter, bus.Drop and bus.Stop, and of ErrLater.
type Control struct {
	Answer     Answer        // Retry, DeadLetter, Drop, Stop or Later
	RetryTopic string        // with Drop: this topic has a copy, so the message is postponed rather than dropped
	After      time.Duration // for Retry
	Err        error         // the cause; may be nil
}

// Error names the answer and the cause.
func (c *Control) Error() string {
	what := c.Answer.String()
	if c.Answer == Later {
		what = "settle later, which this subscription does not support"
	}
	if c.Err == nil {
		return what
	}
	return what + ": " + c.Err.Error()
}

// Unwrap returns the cause.
func (c *Control) Unwrap() error { return c.Err }

// ErrLater is the error that a handler returns if its result is not known yet. The argument of
// [Item.Settle] is then the result. For example, a handler that publishes a message can return
// before the outcome of that message is known. Until Settle the item counts as being handled: for
// the window, for InFlight, for order by key, and for everything that waits until handlers have
// returned. So Settle must be called soon after the item's context ends. In a subscription without
// [SettleLater], ErrLater is an ordinary error.
var ErrLater error = &Control{Answer: Later}

func controlOf(err error) (*Control, bool) { return errors.AsType[*Control](err) }

// AnswerOf returns the answer for the result err of a handler, and the cause. The cause is the
// argument of RetryAfter, DeadLetter, Drop or Stop; for other errors it is err itself.
func AnswerOf(err error) (Answer, error) {
	if err == nil {
		return Ack, nil
	}
	c, ok := controlOf(err)
	if !ok || c.Answer == Later {
		return Nack, err
	}
	return c.Answer, c.Err
}

// batchErrors is implemented by *bus.BatchError, which this package cannot import.
type batchErrors interface {
	error
	Errors(n int) ([]error, bool)
}

// BatchErrors returns the error of each of the n messages of a batch whose handler returned err.
// It is nil for the messages to acknowledge.
func BatchErrors(err error, n int) []error {
	if err == nil {
		return make([]error, n)
	}
	named, ok := errors.AsType[batchErrors](err)
	if c, is := controlOf(err); ok && is {
		// The outer of the two errors decides: Stop(BatchError) applies to the whole batch.
		if _, within := errors.AsType[batchErrors](c.Err); within {
			ok = false
		}
	}
	if ok {
		if errs, valid := named.Errors(n); valid {
			return errs
		}
	}
	errs := make([]error, n)
	for i := range errs {
		errs[i] = err
	}
	return errs
}
