package gochannel_test

import (
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/trunkline/trunkline/bus/driver"
	"github.com/trunkline/trunkline/testing/transporttest"
)

var brokers atomic.Int64

// harness opens a named URL, so that all transports of a scenario share their channels.
func harness(buffer int) transporttest.Harness {
	return transporttest.Harness{Timeout: 10 * time.Second, New: func(*testing.T) transporttest.Connect {
		url := fmt.Sprintf("chan://conformance-%d?buffer=%d", brokers.Add(1), buffer)
		return func(t *testing.T) driver.Transport { return openURL(t, url) }
	}}
}

// Not parallel: some scenarios count goroutines.
func TestConformance(t *testing.T) { transporttest.Run(t, harness(1024)) }

// The suite publishes 10,000 messages before it reads the first.
func TestWatermillSuite(t *testing.T) { transporttest.RunWatermill(t, harness(20_000)) }
