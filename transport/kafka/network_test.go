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

// deadlineConn records the last read deadline.
type deadlineConn struct {
	net.Conn
	deadline time.Time
}

func (c *deadlineConn) Write(b []byte) (int, error) { return len(b), nil }

func (c *deadlineConn) SetReadDeadline(t time.Time) error {
	c.deadline = t
	return nil
}

// A broker answers JoinGroup and SyncGroup only when all members have released their
// partitions, so the read deadline of these requests includes the rebalance time-out. They
// do not count as overdue answers, by which the watchdog detects a broker that hangs.
func TestReadDeadlineOfGroupRequestsIncludesTheRebalanceTimeout(t *testing.T) {
	t.Parallel()
	o := defaults()
	n := newNetwork(o, &traffic{lost: func() {}})
	t.Cleanup(n.close)
	const apiMetadata = 3
	at := time.Now().Add(time.Second)
	for api, want := range map[byte]time.Time{
		apiJoinGroup: at.Add(o.times.Rebalance), apiSyncGroup: at.Add(o.times.Rebalance), apiMetadata: at, apiProduce: at,
	} {
		raw := &deadlineConn{}
		c := &conn{Conn: raw, network: n, addr: "broker"}
		_, err := c.Write([]byte{0, 0, 0, 4, 0, api, 0, 1})
		require.NoError(t, err)
		require.NoError(t, c.SetReadDeadline(at))
		require.Equal(t, want, raw.deadline, "API key %d", api)
		require.Equal(t, want.Equal(at), c.waitingSince.Load() != 0, "API key %d", api)
		require.NoError(t, c.SetReadDeadline(time.Time{}))
		require.True(t, raw.deadline.IsZero(), "no deadline must stay no deadline")
	}
}
