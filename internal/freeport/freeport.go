// Package freeport finds a free port for a test server. It is for tests in which clients dial the
// port before the server listens on it.
package freeport

import (
	"errors"
	"math/rand/v2"
	"net"
	"strconv"
)

// Loopback returns a TCP port on 127.0.0.1 that no process listens on. The port is outside
// the range from which operating systems choose ports for connections and for listeners on
// port 0, so another process is unlikely to take it before the server starts. It is safe for
// concurrent use. It returns an error if none of 100 ports is free.
func Loopback() (int, error) {
	var errs []error
	for range 100 {
		port := 20_000 + rand.IntN(10_000)
		l, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
		if err == nil {
			return port, l.Close()
		}
		errs = append(errs, err)
	}
	return 0, errors.Join(errs...)
}
