package rpc

import (
	"context"
	"math/rand/v2"
	"slices"
	"time"

	"google.golang.org/grpc/codes"
)

// RetryPolicy specifies when the client repeats a failed call, within the deadline of the
// call. All attempts have the same id and go to the same partition. A server that ran an
// earlier attempt answers with the same response. A server that still runs it answers when
// the handler has ended. If the handler returned an error for the earlier attempt, a later
// attempt runs the handler again.
type RetryPolicy struct {
	// Max is the largest number of attempts after the first. 0 means no retries.
	Max int
	// MinBackoff is the pause before the second attempt. Each further pause is twice as
	// long, up to MaxBackoff. Each is shortened by a random part of up to one half. The
	// defaults are 50 ms and 2 s.
	MinBackoff, MaxBackoff time.Duration
	// Codes are the status codes to retry. The default is Unavailable alone. Errors that
	// repeat on every attempt, such as a message that is too large, are never retried.
	Codes []codes.Code
	// AttemptTimeout is how long an attempt waits for its reply if another attempt may
	// follow. The next attempt then follows at once, regardless of Codes. A response to an
	// earlier attempt still ends the call. The last attempt waits until the deadline of the
	// call. With 0, only that deadline limits an attempt.
	AttemptTimeout time.Duration
	// OnRetry is called before each pause, if it is set. It must not block.
	OnRetry func(RetryEvent)
}

// RetryEvent describes a failed attempt that is followed by another.
type RetryEvent struct {
	Topic, Method string
	// Attempt is the number of the failed attempt, from 1.
	Attempt int
	// Err is its error.
	Err *Error
	// Pause is the time until the next attempt.
	Pause time.Duration
}

func (p RetryPolicy) withDefaults() RetryPolicy {
	p.AttemptTimeout = max(p.AttemptTimeout, 0)
	if p.MinBackoff <= 0 {
		p.MinBackoff = 50 * time.Millisecond
	}
	if p.MaxBackoff <= 0 {
		p.MaxBackoff = 2 * time.Second
	}
	p.MaxBackoff = max(p.MaxBackoff, p.MinBackoff)
	if p.Codes == nil {
		p.Codes = []codes.Code{codes.Unavailable}
	}
	return p
}

// retries reports whether another attempt follows the one that failed with err.
func (p *RetryPolicy) retries(attempt int, err *Error) bool {
	return p != nil && attempt <= p.Max && !err.permanent && slices.Contains(p.Codes, err.Code())
}

// attemptTimeout returns how long an attempt may take, and 0 if only the call's deadline
// bounds it.
func (p *RetryPolicy) attemptTimeout(attempt int) time.Duration {
	if p == nil || attempt > p.Max {
		return 0
	}
	return p.AttemptTimeout
}

// pause returns the time to wait after an attempt.
func (p *RetryPolicy) pause(attempt int) time.Duration {
	d := p.MinBackoff
	for i := 1; i < attempt && d < p.MaxBackoff; i++ {
		d *= 2
	}
	d = min(d, p.MaxBackoff)
	return d - time.Duration(rand.Int64N(int64(d)/2+1))
}

// sleep returns false if ctx ends before d has passed.
func sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}
