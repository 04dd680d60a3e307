package bus

import (
	"time"

	"github.com/trunkline/trunkline/internal/delivery"
)

// RetryAfter asks for the next delivery of the message after d, instead of the back-off.
// cause may be nil.
func RetryAfter(d time.Duration, cause error) error {
	return &delivery.Control{Answer: delivery.Retry, After: max(d, 0), Err: cause}
}

// DeadLetter asks the subscription to publish the message to its dead-letter topic, with the
// cause, and to acknowledge it once that is acknowledged. Until then the message is
// unacknowledged, so it cannot be lost. Without a dead-letter topic it is an ordinary error.
func DeadLetter(cause error) error {
	return &delivery.Control{Answer: delivery.DeadLetter, Err: cause}
}

// Drop acknowledges the message although it was not handled. Hooks get the cause.
func Drop(cause error) error { return &delivery.Control{Answer: delivery.Drop, Err: cause} }

// Stop ends the subscription; its Err wraps the cause. The message is not acknowledged.
func Stop(cause error) error { return &delivery.Control{Answer: delivery.Stop, Err: cause} }
