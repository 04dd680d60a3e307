package kafkatest

import (
	"errors"
	"net"
	"os"
	"sync/atomic"
	"syscall"
	"time"
)

// faultConn is a TCP connection that its Dialer can stall or reset. Its state goes
// from open to stalled to closed, and never back.
type faultConn struct {
	net.Conn // the real connection
	dialer   *Dialer

	stalled atomic.Bool
	wasCut  atomic.Bool
	closed  atomic.Bool // the user has called Close

	// silent is one end of a pipe that carries no data. A stalled read waits on it,
	// so it supports deadlines and Close. silentPeer is the other end.
	silent, silentPeer net.Conn
}

func newFaultConn(d *Dialer, raw net.Conn) *faultConn {
	silent, peer := net.Pipe()
	return &faultConn{Conn: raw, dialer: d, silent: silent, silentPeer: peer}
}

// setStalled must be called with the dialer's lock held.
func (c *faultConn) setStalled() { c.stalled.Store(true) }

// reset closes the connection with a TCP reset, as a failing peer does, so that
// buffered data does not arrive.
func (c *faultConn) reset() {
	c.wasCut.Store(true)
	if tcp, ok := c.Conn.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0)
	}
	_ = c.release()
}

func (c *faultConn) release() error {
	err := c.Conn.Close()
	c.silent.Close()
	c.silentPeer.Close()
	return err
}

func (c *faultConn) Read(p []byte) (int, error) {
	if !c.stalled.Load() {
		n, err := c.Conn.Read(p)
		if !c.stalled.Load() || isTimeout(err) {
			return n, c.failure("read", err)
		}
		// Data or an end of file that arrives after the stall began is lost.
	}
	_, err := c.silent.Read(p)
	return 0, c.failure("read", err)
}

func (c *faultConn) Write(p []byte) (int, error) {
	if !c.stalled.Load() {
		n, err := c.Conn.Write(p)
		return n, c.failure("write", err)
	}
	if c.wasCut.Load() || c.closed.Load() {
		return 0, c.failure("write", net.ErrClosed)
	}
	return len(p), nil
}

// Close closes the connection. As with other connections, a second Close returns an
// error, and a Close after a reset does not.
func (c *faultConn) Close() error {
	if c.closed.Swap(true) {
		return c.opError("close", net.ErrClosed)
	}
	c.dialer.forget(c)
	if err := c.release(); !c.wasCut.Load() {
		return err
	}
	return nil
}

func (c *faultConn) SetDeadline(t time.Time) error {
	return errors.Join(c.Conn.SetDeadline(t), c.silent.SetDeadline(t))
}

func (c *faultConn) SetReadDeadline(t time.Time) error {
	return errors.Join(c.Conn.SetReadDeadline(t), c.silent.SetReadDeadline(t))
}

// failure returns the error that the operating system would report for err.
func (c *faultConn) failure(op string, err error) error {
	switch {
	case err == nil:
		return nil
	case isTimeout(err):
		return c.opError(op, os.ErrDeadlineExceeded)
	case c.wasCut.Load() && !c.closed.Load():
		return c.opError(op, os.NewSyscallError(op, syscall.ECONNRESET))
	case c.stalled.Load(), c.wasCut.Load():
		return c.opError(op, net.ErrClosed)
	default:
		return err
	}
}

func (c *faultConn) opError(op string, err error) error {
	return &net.OpError{Op: op, Net: "tcp", Source: c.LocalAddr(), Addr: c.RemoteAddr(), Err: err}
}

func isTimeout(err error) bool { return errors.Is(err, os.ErrDeadlineExceeded) }
