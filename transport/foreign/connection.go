package foreign

import (
	"sync"
	"time"

	"github.com/trunkline/trunkline/bus/driver"
)

// connection is what is known of the Pub/Sub's connection.
type connection struct {
	mu      sync.Mutex
	now     driver.Connection
	observe func(driver.Connection)
	stopped bool
}

func (c *connection) register(observe func(driver.Connection)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.observe = observe
	observe(c.now)
}

// worked is called for each publish and delivery that went well.
func (c *connection) worked() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.stopped || c.now.State == driver.Connected {
		return
	}
	c.now = driver.Connection{State: driver.Connected, Since: time.Now()}
	if c.observe != nil {
		c.observe(c.now)
	}
}

func (c *connection) stop() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.stopped = true
}
