package bus

import (
	"time"

	"github.com/trunkline/trunkline/internal/delivery"
)

// RetryAfter returns an error for a handler to return. The subscription then delivers the message
// again after d, instead of after the back-off. cause may be nil.
func RetryAfter(d time.Duration, cause error) error {
	return &delivery.Control{Answer: delivery.Retry, After: max(d, 0), Err: cause}
}

// DeadLetter returns an error for a handler to return. The subscription then publishes a copy of
// the message, with the cause, to its dead-letter topic. It acknowledges the message after the
// transport has acknowledged the copy, so the message cannot be lost. If the subscription has no
// dead-letter topic, it treats the error as an ordinary one.
func DeadLetter(cause error) error {
	return &delivery.Control{Answer: delivery.DeadLetter, Err: cause}
}

// Drop returns an error for a handler to return. The subscription then acknowledges the message
// although it was not handled. Hooks get the cause.
func Drop(cause error) error { return &delivery.Control{Answer: delivery.Drop, Err: cause} }

// Stop returns an error for a handler to return. The subscription then ends, and its Err wraps the
// cause. It does not acknowledge the message.
func Stop(cause error) error { return &delivery.Control{Answer: delivery.Stop, Err: cause} }
