package kafkatest_test

import (
	"context"
	"io"
	"net"
	"os"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/trunkline/trunkline/testing/kafkatest"
)

// echo runs a server that sends back what it receives, until t ends. It returns the address.
func echo(t *testing.T) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	var serving sync.WaitGroup
	serving.Go(func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			serving.Go(func() {
				defer conn.Close()
				_, _ = io.Copy(conn, conn) // the tests reset connections, so an error is normal
			})
		}
	})
	t.Cleanup(func() {
		ln.Close()
		serving.Wait()
	})
	return ln.Addr().String()
}

func dial(t *testing.T, d *kafkatest.Dialer, addr string) net.Conn {
	t.Helper()
	conn, err := d.DialContext(t.Context(), "tcp", addr)
	require.NoError(t, err)
	t.Cleanup(func() { conn.Close() })
	return conn
}

func roundTrip(t *testing.T, conn net.Conn) {
	t.Helper()
	_, err := conn.Write([]byte("ping"))
	require.NoError(t, err)
	buf := make([]byte, 4)
	_, err = io.ReadFull(conn, buf)
	require.NoError(t, err)
	require.Equal(t, "ping", string(buf))
}

// requireReset checks the type and the errno, by which clients classify errors.
func requireReset(t *testing.T, err error) {
	t.Helper()
	var op *net.OpError
	require.ErrorAs(t, err, &op)
	require.ErrorIs(t, err, syscall.ECONNRESET)
}

// startRead starts a read in another goroutine. The returned function waits for its error.
func startRead(t *testing.T, conn net.Conn) (wait func() error) {
	t.Helper()
	done := make(chan error, 1)
	go func() {
		_, err := conn.Read(make([]byte, 1))
		done <- err
	}()
	return func() error {
		t.Helper()
		select {
		case err := <-done:
			return err
		case <-time.After(time.Minute):
			require.FailNow(t, "the read does not return")
			return nil
		}
	}
}

func TestCutResetsConnectionsAndRefusesDials(t *testing.T) {
	t.Parallel()
	addr := echo(t)
	var d kafkatest.Dialer
	a, b := dial(t, &d, addr), dial(t, &d, addr)
	roundTrip(t, a)
	require.Equal(t, 2, d.Conns())

	read := startRead(t, b)
	d.Cut()
	requireReset(t, read())
	_, err := a.Write([]byte("x"))
	requireReset(t, err)
	_, err = a.Read(make([]byte, 1))
	requireReset(t, err)
	require.Zero(t, d.Conns())

	_, err = d.Dial("tcp", addr)
	var op *net.OpError
	require.ErrorAs(t, err, &op)
	require.Equal(t, "dial", op.Op)
	require.ErrorIs(t, err, syscall.ECONNREFUSED)

	d.Restore()
	roundTrip(t, dial(t, &d, addr))
	require.NoError(t, a.Close())
	require.ErrorIs(t, a.Close(), net.ErrClosed)
}

func TestStallLosesWritesAndBlocksReads(t *testing.T) {
	t.Parallel()
	addr := echo(t)
	var d kafkatest.Dialer
	conn := dial(t, &d, addr)
	roundTrip(t, conn)

	d.Stall()
	late := dial(t, &d, addr)
	require.Equal(t, 2, d.Conns())
	for _, c := range []net.Conn{conn, late} {
		n, err := c.Write([]byte("lost"))
		require.NoError(t, err)
		require.Equal(t, 4, n)

		require.NoError(t, c.SetReadDeadline(time.Now().Add(10*time.Millisecond)))
		_, err = c.Read(make([]byte, 1))
		require.ErrorIs(t, err, os.ErrDeadlineExceeded)
		var ne net.Error
		require.ErrorAs(t, err, &ne)
		require.True(t, ne.Timeout())
		require.NoError(t, c.SetReadDeadline(time.Time{}))
	}

	read := startRead(t, conn)
	d.Restore()
	requireReset(t, read())
	_, err := late.Write([]byte("x"))
	requireReset(t, err)
	require.Zero(t, d.Conns())
	roundTrip(t, dial(t, &d, addr))
}

func TestStallHidesThatThePeerCloses(t *testing.T) {
	t.Parallel()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer ln.Close()
	var d kafkatest.Dialer
	conn := dial(t, &d, ln.Addr().String())
	peer, err := ln.Accept()
	require.NoError(t, err)

	read := startRead(t, conn)
	d.Stall()
	_, err = peer.Write([]byte("unseen"))
	require.NoError(t, err)
	require.NoError(t, peer.Close())
	// The read may be at any point between its first attempt and the wait for the
	// deadline. In each case it must not see that the peer has closed the connection.
	require.NoError(t, conn.SetReadDeadline(time.Now().Add(20*time.Millisecond)))
	require.ErrorIs(t, read(), os.ErrDeadlineExceeded)

	require.NoError(t, conn.SetReadDeadline(time.Time{}))
	read = startRead(t, conn)
	require.NoError(t, conn.Close())
	require.ErrorIs(t, read(), net.ErrClosed)
	_, err = conn.Write([]byte("x"))
	require.ErrorIs(t, err, net.ErrClosed)
}

func TestLatestFaultApplies(t *testing.T) {
	t.Parallel()
	addr := echo(t)
	var d kafkatest.Dialer

	d.Cut()
	d.Stall()
	conn := dial(t, &d, addr)
	d.Cut()
	_, err := conn.Read(make([]byte, 1))
	requireReset(t, err)
	_, err = d.Dial("tcp", addr)
	require.ErrorIs(t, err, syscall.ECONNREFUSED)
	d.Restore()
	d.Restore()
	roundTrip(t, dial(t, &d, addr))
}

func TestDialContextEndsWithItsContext(t *testing.T) {
	t.Parallel()
	var d kafkatest.Dialer
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := d.DialContext(ctx, "tcp", echo(t))
	require.Error(t, err)
	require.Zero(t, d.Conns())
}

func TestDialerIsSafeForConcurrentUse(t *testing.T) {
	t.Parallel()
	addr := echo(t)
	var d kafkatest.Dialer
	var users sync.WaitGroup
	for range 8 {
		users.Go(func() {
			for range 50 {
				conn, err := d.Dial("tcp", addr)
				if err != nil {
					continue
				}
				_ = conn.SetDeadline(time.Now().Add(20 * time.Millisecond))
				_, _ = conn.Write([]byte("x"))
				_, _ = conn.Read(make([]byte, 1))
				conn.Close()
			}
		})
	}
	users.Go(func() {
		for i := range 300 {
			switch i % 4 {
			case 0:
				d.Cut()
			case 2:
				d.Stall()
			default:
				d.Restore()
			}
			d.Conns()
		}
	})
	users.Wait()
	d.Restore()
	require.Zero(t, d.Conns())
	roundTrip(t, dial(t, &d, addr))
}
