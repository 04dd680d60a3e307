package rpc

import (
	"context"
	"math/rand/v2"
	"slices"
	"time"

	"google.golang.org/grpc/codes"
)

// RetryPolicy says when a call that failed is made again, within its deadline. All
// attempts have one id and land on one partition, so a server that ran an earlier one
// answers with what it answered then, and one that is still at it answers once; only an
// error it answered with makes it run a later attempt anew.
type RetryPolicy struct {
	// Max is how many attempts follow the first at the most. 0 is none.
	Max int
	// MinBackoff is the pause before the second attempt, doubled before each further
	// one up to MaxBackoff, and then shortened by a random part of up to a half.
	// Defaults: 50 ms and 2 s.
	MinBackoff, MaxBackoff time.Duration
	// Codes are those that are retried. Default: Unavailable alone. A failure of which
	// it is known that another attempt can't help is not retried whatever its code.
	Codes []codes.Code
	// AttemptTimeout is how long an attempt waits for its reply when another may follow;
	// the last one waits until the call's deadline. The next attempt then follows at
	// once, whatever Codes says, and the answer to an earlier one counts as well.
	// 0: no limit but the deadline.
	AttemptTimeout time.Duration
	// OnRetry, when set, is told before each pause. It must not block.
	OnRetry func(RetryEvent)
}

// RetryEvent is a failed attempt that is followed by another.
type RetryEvent struct {
	Topic, Method string
	// Attempt is the one that failed, from 1.
	Attempt int
	// Err is what it failed with.
	Err *Error
	// Pause is the time until the next.
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

// wants says whether another attempt is to follow this one.
func (p *RetryPolicy) wants(attempt int, err *Error) bool {
	return p != nil && attempt <= p.Max && !err.terminal && slices.Contains(p.Codes, err.Code())
}

// limit is how long an attempt may take; 0 for as long as the call.
func (p *RetryPolicy) limit(attempt int) time.Duration {
	if p == nil || attempt > p.Max {
		return 0
	}
	return p.AttemptTimeout
}

// pause is the time after an attempt.
func (p *RetryPolicy) pause(attempt int) time.Duration {
	d := p.MinBackoff
	for i := 1; i < attempt && d < p.MaxBackoff; i++ {
		d *= 2
	}
	d = min(d, p.MaxBackoff)
	return d - time.Duration(rand.Int64N(int64(d)/2+1))
}

// sleep returns false when ctx ends first.
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
