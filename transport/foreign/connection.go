package foreign

import (
	"sync"
	"time"

	"github.com/trunkline/trunkline/bus/driver"
)

// connection is the state of the connection, as far as the transport can infer it.
type connection struct {
	mu       sync.Mutex
	current  driver.Connection
	observer func(driver.Connection)
	stopped  bool
}

func (c *connection) observe(observer func(driver.Connection)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.observer = observer
	observer(c.current)
}

// succeeded records that a publish or a delivery has succeeded.
func (c *connection) succeeded() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.stopped || c.current.State == driver.Connected {
		return
	}
	c.current = driver.Connection{State: driver.Connected, Since: time.Now()}
	if c.observer != nil {
		c.observer(c.current)
	}
}

func (c *connection) stop() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.stopped = true
}
