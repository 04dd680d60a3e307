package liveness

import "time"

// The defaults of the check options.
const (
	// DefaultCheckName is the checker's service in the registry.
	DefaultCheckName = "message-bus-brokers"
	// DefaultCheckInterval is the time between checks.
	DefaultCheckInterval = 10 * time.Second
	// DefaultCheckRetry is the time between checks while something is CRITICAL.
	DefaultCheckRetry = time.Second
)

// CheckOption configures a [Checker]. The zero set is the safe one.
type CheckOption func(*checkConfig) error

type checkConfig struct {
	service         string
	interval, retry time.Duration
}

// WithCheckName names the checker's service in the registry. Checkers of one registry
// must have different names. Default [DefaultCheckName].
func WithCheckName(name string) CheckOption {
	return func(c *checkConfig) error {
		if name == "" {
			return invalid("the check's name is empty")
		}
		c.service = name
		return nil
	}
}

// WithCheckInterval sets the time from the end of a check to the next one. Each makes a
// connection to each broker: seconds are soon enough. Default [DefaultCheckInterval].
func WithCheckInterval(d time.Duration) CheckOption {
	return checkInterval("check interval", d, func(c *checkConfig) { c.interval = d })
}

// WithCheckRetry sets the time from the end of a check that found something CRITICAL to
// the next one, if that is shorter than the interval: it delays the return to ready.
// Default [DefaultCheckRetry].
func WithCheckRetry(d time.Duration) CheckOption {
	return checkInterval("check retry", d, func(c *checkConfig) { c.retry = d })
}

func checkInterval(name string, d time.Duration, set func(*checkConfig)) CheckOption {
	return func(c *checkConfig) error {
		if d <= 0 {
			return invalid("the " + name + " is not over zero")
		}
		set(c)
		return nil
	}
}
