package kafkatest

import (
	"errors"
	"net"
	"os"
	"sync/atomic"
	"syscall"
	"time"
)

// faultConn is a TCP connection that its Dialer may stall or reset. It goes
// from open to stalled to gone, and never back.
type faultConn struct {
	net.Conn // the network's
	dialer   *Dialer

	stalled atomic.Bool
	wasCut  atomic.Bool
	closed  atomic.Bool // by its user

	// void is one end of a pipe on which nothing is ever sent: a stalled read
	// waits there, which gives it deadlines and closing for nothing. far is
	// kept only so as to be closed.
	void, far net.Conn
}

func newFaultConn(d *Dialer, raw net.Conn) *faultConn {
	void, far := net.Pipe()
	return &faultConn{Conn: raw, dialer: d, void: void, far: far}
}

// setStalled is called with the dialer's lock held.
func (c *faultConn) setStalled() { c.stalled.Store(true) }

// reset closes the connection as if the peer had: with a reset, so that what
// is still buffered does not arrive.
func (c *faultConn) reset() {
	c.wasCut.Store(true)
	if tcp, ok := c.Conn.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0)
	}
	c.release()
}

func (c *faultConn) release() error {
	err := c.Conn.Close()
	c.void.Close()
	c.far.Close()
	return err
}

func (c *faultConn) Read(p []byte) (int, error) {
	if !c.stalled.Load() {
		n, err := c.Conn.Read(p)
		if !c.stalled.Load() || isTimeout(err) {
			return n, c.failure("read", err)
		}
		// What arrived after the stall began is lost, an end of file too.
	}
	_, err := c.void.Read(p)
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

// Close closes the connection. Closing it again is an error, closing it after
// a reset is not, as on any other.
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
	return errors.Join(c.Conn.SetDeadline(t), c.void.SetDeadline(t))
}

func (c *faultConn) SetReadDeadline(t time.Time) error {
	return errors.Join(c.Conn.SetReadDeadline(t), c.void.SetReadDeadline(t))
}

// failure names the cause of err as the operating system would.
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
