package kafkatest

import (
	"net"
	"sync"
	"time"
)

// listeners tracks the embedded broker's listeners and the connections that they
// have accepted. kfake closes a connection only the next time that it uses that
// connection, and a test must not end with an open connection.
type listeners struct {
	mu     sync.Mutex
	closed bool
	lns    []net.Listener
	conns  map[*acceptedConn]struct{}
	idle   chan struct{} // set by wait; closed when conns is empty
}

func (ls *listeners) listen(network, address string) (net.Listener, error) {
	ln, err := net.Listen(network, address)
	if err != nil {
		return nil, err
	}
	ls.mu.Lock()
	defer ls.mu.Unlock()
	ls.lns = append(ls.lns, ln)
	return &trackedListener{Listener: ln, ls: ls}, nil
}

func (ls *listeners) addrs() []string {
	ls.mu.Lock()
	defer ls.mu.Unlock()
	addrs := make([]string, len(ls.lns))
	for i, ln := range ls.lns {
		addrs[i] = ln.Addr().String()
	}
	return addrs
}

// close closes all listeners and the sockets of all connections. A connection counts
// as open until the broker has closed it too.
func (ls *listeners) close() {
	ls.mu.Lock()
	defer ls.mu.Unlock()
	ls.closed = true
	for _, ln := range ls.lns {
		ln.Close()
	}
	for c := range ls.conns {
		c.Conn.Close()
	}
}

func (ls *listeners) wait(limit time.Duration) {
	ls.mu.Lock()
	if len(ls.conns) == 0 {
		ls.mu.Unlock()
		return
	}
	ls.idle = make(chan struct{})
	idle := ls.idle
	ls.mu.Unlock()

	timer := time.NewTimer(limit)
	defer timer.Stop()
	select {
	case <-idle:
	case <-timer.C:
	}
}

func (ls *listeners) add(c *acceptedConn) bool {
	ls.mu.Lock()
	defer ls.mu.Unlock()
	if ls.closed {
		return false
	}
	if ls.conns == nil {
		ls.conns = make(map[*acceptedConn]struct{})
	}
	ls.conns[c] = struct{}{}
	return true
}

func (ls *listeners) remove(c *acceptedConn) {
	ls.mu.Lock()
	defer ls.mu.Unlock()
	delete(ls.conns, c)
	if len(ls.conns) == 0 && ls.idle != nil {
		close(ls.idle)
		ls.idle = nil
	}
}

type trackedListener struct {
	net.Listener
	ls *listeners
}

func (l *trackedListener) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	c := &acceptedConn{Conn: conn, ls: l.ls}
	if !l.ls.add(c) {
		conn.Close()
		return nil, net.ErrClosed
	}
	return c, nil
}

type acceptedConn struct {
	net.Conn
	ls *listeners
}

func (c *acceptedConn) Close() error {
	defer c.ls.remove(c)
	return c.Conn.Close()
}
