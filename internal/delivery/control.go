package delivery

import (
	"errors"
	"time"
)

// Answer is what a handler asks for with its result.
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

// Control is an error by which a handler asks for something other than the next attempt.
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

// ErrLater is what a handler returns if the result is not known yet: the caller of
// [Item.Settle] provides it. It lets the handler's goroutine end while only an outcome is
// missing, such as that of a message the handler published. Until Settle the item counts as
// being handled: for the window, InFlight, order by key, and everything that waits for
// handlers. So Settle must be called soon after the item's context ends. It is an ordinary
// error in a subscription without [SettleLater].
var ErrLater error = &Control{Answer: Later}

func controlOf(err error) (*Control, bool) { return errors.AsType[*Control](err) }

// AnswerOf returns what a handler asks for by returning err, and the cause: the one given
// to RetryAfter, DeadLetter, Drop or Stop, otherwise err itself.
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

// batchErrors is *bus.BatchError.
type batchErrors interface {
	error
	Errors(n int) ([]error, bool)
}

// BatchErrors returns what err, the result of a batch handler, means for each of the n
// messages of the batch: nil for those that are acknowledged.
func BatchErrors(err error, n int) []error {
	if err == nil {
		return make([]error, n)
	}
	named, ok := errors.AsType[batchErrors](err)
	if c, is := controlOf(err); ok && is {
		// The outermost of the two decides: Stop around a BatchError stops.
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
