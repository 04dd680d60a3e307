package bus

import (
	"errors"
	"fmt"
	"maps"
	"slices"
)

// BatchError is how a [BatchHandler] says which messages of a batch were not handled;
// all others are acknowledged.
//
//	var failed bus.BatchError
//	for i, d := range ds {
//		if err := store(ctx, d); err != nil {
//			failed.Add(i, err)
//		}
//	}
//	return failed.Err()
//
// The zero BatchError names none. It is not safe for concurrent use.
type BatchError struct {
	// Failed has the error of each message that was not handled, by its place in the
	// batch. Retry, DeadLetter, Drop and Stop say more, as for one message. A place
	// that is not in the batch makes it a Nack of the whole batch.
	Failed map[int]error
}

// Add says that the message at this place was not handled; a nil err changes nothing.
func (e *BatchError) Add(place int, err error) {
	if err == nil {
		return
	}
	if e.Failed == nil {
		e.Failed = map[int]error{}
	}
	e.Failed[place] = err
}

// Err returns e, or nil when no message failed: what the handler returns.
func (e *BatchError) Err() error {
	if len(e.Failed) == 0 {
		return nil
	}
	return e
}

// Error names how many failed, and the first one's error.
func (e *BatchError) Error() string {
	if len(e.Failed) == 0 {
		return "no message of the batch failed"
	}
	first := slices.Min(slices.Collect(maps.Keys(e.Failed)))
	return fmt.Sprintf("%d messages of the batch failed: the first, at %d: %v", len(e.Failed), first, e.Failed[first])
}

// Unwrap returns the messages' errors, in the order of the batch.
func (e *BatchError) Unwrap() []error {
	errs := make([]error, 0, len(e.Failed))
	for _, i := range slices.Sorted(maps.Keys(e.Failed)) {
		errs = append(errs, e.Failed[i])
	}
	return errs
}

// BatchErrors returns what err, a BatchHandler's, says of each of a batch's n messages:
// nil for those that are acknowledged. A wrapper around a BatchHandler decides by it.
func BatchErrors(err error, n int) []error {
	errs := make([]error, n)
	if err == nil {
		return errs
	}
	// The outer of the two means what it says: Stop around a BatchError is a Stop.
	named, ok := errors.AsType[*BatchError](err)
	if ctl, is := controlOf(err); ok && is {
		if _, within := errors.AsType[*BatchError](ctl.err); within {
			ok = false
		}
	}
	if ok {
		for i, e := range named.Failed {
			if i < 0 || i >= n {
				ok = false
				break
			}
			errs[i] = e
		}
	}
	if !ok {
		for i := range errs {
			errs[i] = err
		}
	}
	return errs
}
