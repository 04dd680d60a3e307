package bus

import (
	"fmt"
	"strings"
)

// PublishError is the error that Publish returns if at least one message failed.
type PublishError struct {
	Topic string
	// Outcomes has the outcome of every message, in the order of the arguments of Publish. Its
	// Err is nil if the log has the message.
	Outcomes []Outcome
}

// Error returns how many messages failed, and the first error.
func (e *PublishError) Error() string {
	var first error
	failed, unknown := 0, 0
	for _, o := range e.Outcomes {
		if o.Err == nil {
			continue
		}
		failed++
		if CodeOf(o.Err) == CodeOutcomeUnknown {
			unknown++
		}
		if first == nil {
			first = o.Err
		}
	}
	if len(e.Outcomes) == 1 {
		return first.Error()
	}
	var b strings.Builder
	fmt.Fprintf(&b, "publish %q: %d of %d messages failed", e.Topic, failed, len(e.Outcomes))
	if unknown > 0 {
		fmt.Fprintf(&b, " (the outcome of %d is unknown)", unknown)
	}
	fmt.Fprintf(&b, "; the first error: %v", first)
	return b.String()
}

// Unwrap returns the errors of the messages that failed.
func (e *PublishError) Unwrap() []error {
	var errs []error
	for _, o := range e.Outcomes {
		if o.Err != nil {
			errs = append(errs, o.Err)
		}
	}
	return errs
}
