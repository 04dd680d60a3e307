package kafka

import (
	"net"
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/trunkline/trunkline/testing/kafkatest"
)

// After its first error a connection closes itself, even if sarama would still use it: it
// does not count as open, and later writes fail.
func TestFailedConnectionClosesItself(t *testing.T) {
	t.Parallel()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, listener.Close()) })
	d := &kafkatest.Dialer{}
	o := defaults()
	o.dial = d.DialContext
	lost := 0
	n := newNetwork(o, &traffic{lost: func() { lost++ }})
	t.Cleanup(n.close)
	c, err := n.Dial("tcp", listener.Addr().String())
	require.NoError(t, err)
	require.EqualValues(t, 1, n.live.Load())

	require.NoError(t, c.SetReadDeadline(time.Now()))
	_, err = c.Read(make([]byte, 1))
	require.ErrorIs(t, err, os.ErrDeadlineExceeded)
	require.Zero(t, d.Conns())
	require.Zero(t, n.live.Load())
	_, err = c.Write([]byte("x"))
	require.ErrorIs(t, err, net.ErrClosed)
	require.Equal(t, 1, lost, "the loss is reported once")
}
