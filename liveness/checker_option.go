package liveness

import (
	"fmt"
	"time"
)

// The defaults of the checker's options.
const (
	// DefaultCheckerName is the name of the checker's service in the registry.
	DefaultCheckerName = "message-bus-brokers"
	// DefaultCheckInterval is the time between checks.
	DefaultCheckInterval = 10 * time.Second
	// DefaultCheckRetry is the time between checks while the check fails.
	DefaultCheckRetry = time.Second
)

type checkerConfig struct {
	common
	interval, retry time.Duration
}

func newCheckerConfig(opts []CheckerOption) (checkerConfig, error) {
	c := checkerConfig{common: common{service: DefaultCheckerName}, interval: DefaultCheckInterval, retry: DefaultCheckRetry}
	for _, o := range opts {
		if o == nil {
			return c, invalid("an option is nil")
		}
		if err := o.applyToChecker(&c); err != nil {
			return c, err
		}
	}
	return c, nil
}

type checkerOption func(*checkerConfig) error

func (o checkerOption) applyToChecker(c *checkerConfig) error { return o(c) }

// WithCheckInterval sets the time from the end of a check to the next one. Each check
// connects to every broker, so an interval of seconds is short enough. The default is
// [DefaultCheckInterval].
func WithCheckInterval(d time.Duration) CheckerOption {
	return positiveCheck("check interval", d, func(c *checkerConfig) { c.interval = d })
}

// WithCheckRetry sets the time from the end of a failed check to the next one, if that
// is shorter than the interval. It bounds how long the service stays not ready after the
// brokers have recovered. The default is [DefaultCheckRetry].
func WithCheckRetry(d time.Duration) CheckerOption {
	return positiveCheck("check retry", d, func(c *checkerConfig) { c.retry = d })
}

func positiveCheck(name string, d time.Duration, set func(*checkerConfig)) CheckerOption {
	return checkerOption(func(c *checkerConfig) error {
		if d <= 0 {
			return invalid(fmt.Sprintf("the %s must be greater than 0, got %v", name, d))
		}
		set(c)
		return nil
	})
}
