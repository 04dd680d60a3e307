// Package freeport finds a port for a server that is to come later than those who dial it.
package freeport

import (
	"errors"
	"math/rand/v2"
	"net"
	"strconv"
)

// Loopback returns a port on 127.0.0.1 that nobody listens on. It is not one of those that
// systems give to connections and to listeners that ask for any: one of those would be
// somebody else's before the server comes.
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
