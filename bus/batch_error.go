package bus

import (
	"fmt"
	"maps"
	"slices"
)

// BatchError is an error that a [BatchHandler] returns if only some messages of a batch failed.
// The subscription acknowledges the others.
//
//	var failed bus.BatchError
//	for i, d := range ds {
//		if err := store(ctx, d); err != nil {
//			failed.Add(i, err)
//		}
//	}
//	return failed.Err()
//
// The zero value has no failed message. A BatchError is not safe for concurrent use.
type BatchError struct {
	// Failed has the error of each message that failed, by its index in the batch.
	// RetryAfter, DeadLetter, Drop and Stop have the same effect as for a Handler. If an index
	// is not in the batch, the subscription treats all messages of the batch as failed.
	Failed map[int]error
}

// Add records that the message at this index failed. It does nothing if err is nil.
func (e *BatchError) Add(index int, err error) {
	if err == nil {
		return
	}
	if e.Failed == nil {
		e.Failed = map[int]error{}
	}
	e.Failed[index] = err
}

// Err returns e, or nil if no message failed. It is what the handler returns.
func (e *BatchError) Err() error {
	if len(e.Failed) == 0 {
		return nil
	}
	return e
}

// Error returns the number of messages that failed, and the first error.
func (e *BatchError) Error() string {
	if len(e.Failed) == 0 {
		return "no message of the batch failed"
	}
	first := slices.Min(slices.Collect(maps.Keys(e.Failed)))
	return fmt.Sprintf("%d messages of the batch failed, the first at index %d: %v", len(e.Failed), first, e.Failed[first])
}

// Unwrap returns the errors in the order of the batch.
func (e *BatchError) Unwrap() []error {
	errs := make([]error, 0, len(e.Failed))
	for _, i := range slices.Sorted(maps.Keys(e.Failed)) {
		errs = append(errs, e.Failed[i])
	}
	return errs
}

// Errors returns the error of each message of a batch with n messages: nil for a message that
// was handled. It returns false if Failed has an index that is not in the batch. It is for code
// that wraps a BatchHandler.
func (e *BatchError) Errors(n int) ([]error, bool) {
	errs := make([]error, n)
	for i, err := range e.Failed {
		if i < 0 || i >= n {
			return nil, false
		}
		errs[i] = err
	}
	return errs, true
}
