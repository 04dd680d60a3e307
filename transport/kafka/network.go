package kafka

import (
	"context"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// traffic counts what happens on all connections of a transport.
type traffic struct {
	read     atomic.Uint64 // successful reads
	requests atomic.Uint64 // produce requests written
	produced atomic.Uint64 // records acknowledged
	lost     func()        // called when a connection fails or cannot be opened; must not block
}

// network opens the connections of one sarama client. It is the client's proxy dialer, so
// the client reaches brokers only through it, and closing it ends every wait of the client
// for an answer.
type network struct {
	dial        dialFunc
	tls         *tlsSource // nil for plain text
	login       *saslLogin // nil for no SASL
	logger      *slog.Logger
	dialTimeout time.Duration
	// rebalanceTimeout is added to the read deadline of JoinGroup and SyncGroup requests. A
	// broker delays their answers until the other members of the group have joined.
	rebalanceTimeout time.Duration
	traffic          *traffic
	isolation        *isolation // nil for a network that ignores isolated brokers

	ctx    context.Context
	cancel context.CancelFunc
	opened atomic.Int64 // connections opened so far
	live   atomic.Int64 // connections open now

	mu     sync.Mutex
	conns  map[*conn]struct{}
	failed map[string]time.Time // by address, when the last attempt to dial it failed
}

func newNetwork(o *options, t *traffic) *network {
	ctx, cancel := context.WithCancel(context.Background())
	return &network{
		failed: make(map[string]time.Time),
		dial:   o.dial, tls: o.tls, login: o.login, logger: o.logger,
		dialTimeout: o.times.Dial, rebalanceTimeout: o.times.Rebalance, traffic: t,
		ctx: ctx, cancel: cancel, conns: make(map[*conn]struct{}),
	}
}

// Dial implements the proxy dialer of sarama.
func (n *network) Dial(netw, addr string) (net.Conn, error) {
	if err := n.delayDial(netw, addr); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(n.ctx, n.dialTimeout)
	defer cancel()
	raw, err := n.connect(ctx, netw, addr)
	if err != nil {
		n.mu.Lock()
		n.failed[addr] = time.Now()
		n.mu.Unlock()
		if n.ctx.Err() == nil {
			n.traffic.lost()
		}
		if _, ok := errors.AsType[*net.OpError](err); !ok {
			err = &net.OpError{Op: "dial", Net: netw, Err: err}
		}
		return nil, err
	}
	c := &conn{Conn: raw, network: n, addr: addr}
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.ctx.Err() != nil {
		_ = raw.Close()
		return nil, net.ErrClosed
	}
	delete(n.failed, addr)
	n.conns[c] = struct{}{}
	n.opened.Add(1)
	n.live.Add(1)
	return c, nil
}

// dialPause is the shortest time between a failed attempt to dial an address and the next.
// sarama would try again at once. A dial to an isolated broker fails after this time.
const dialPause = 200 * time.Millisecond

// delayDial waits after a failed dial. It returns an error for an isolated broker.
func (n *network) delayDial(netw, addr string) error {
	n.mu.Lock()
	wait := dialPause - time.Since(n.failed[addr])
	n.mu.Unlock()
	isolated := n.isolation != nil && n.isolation.contains(addr)
	if isolated {
		wait = dialPause
	}
	if wait > 0 {
		sleep(n.ctx, wait)
	}
	if isolated {
		return &net.OpError{Op: "dial", Net: netw, Err: errIsolated}
	}
	return nil
}

// opHandshake is the operation of a *net.OpError from a TLS handshake.
const opHandshake = "TLS handshake"

// connect dials and does the TLS handshake.
func (n *network) connect(ctx context.Context, netw, addr string) (net.Conn, error) {
	raw, err := n.dial(ctx, netw, addr)
	if err != nil || n.tls == nil {
		return raw, err
	}
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		_ = raw.Close()
		return nil, err
	}
	secured := tls.Client(raw, n.tls.config(host, n.logger))
	if err := secured.HandshakeContext(ctx); err != nil {
		_ = raw.Close()
		return nil, &net.OpError{Op: opHandshake, Addr: raw.RemoteAddr(), Err: err}
	}
	return secured, nil
}

// reset closes all connections. New ones can be opened.
func (n *network) reset() { n.resetAddr("") }

// resetAddr closes the connections to addr, or all connections if addr is "".
func (n *network) resetAddr(addr string) {
	n.mu.Lock()
	conns := make([]*conn, 0, len(n.conns))
	for c := range n.conns {
		if addr == "" || c.addr == addr {
			conns = append(conns, c)
		}
	}
	n.mu.Unlock()
	for _, c := range conns {
		_ = c.Close()
	}
}

// addOverdue adds the addresses of brokers that have not answered a request for longer than
// d.
func (n *network) addOverdue(d time.Duration, overdue map[string]bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for c := range n.conns {
		if since := c.waitingSince.Load(); since != 0 && time.Since(time.Unix(0, since)) > d {
			overdue[c.addr] = true
		}
	}
}

// close closes all connections permanently. No new connection can be opened.
func (n *network) close() {
	n.cancel()
	if n.isolation != nil {
		n.isolation.remove(n)
	}
	n.reset()
}

// conn is a connection of a network. It closes itself at its first error and reports the
// loss. Without this, sarama would use the connection for two more time-outs after its
// request for API versions has timed out.
type conn struct {
	net.Conn
	network *network
	addr    string
	// slowRequest is set while the last request is one whose answer a broker may delay.
	slowRequest atomic.Bool
	removed     atomic.Bool
	// waitingSince is the time of the first request that was written after the last read,
	// in Unix nanoseconds. It is 0 if there is no such request. Requests whose
	// answer a broker may delay do not count.
	waitingSince atomic.Int64
}

const (
	apiProduce   = 0
	apiJoinGroup = 11
	apiSyncGroup = 14
)

func (c *conn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	if err != nil {
		c.fail()
	} else {
		c.waitingSince.Store(0)
		c.network.traffic.read.Add(1)
	}
	return n, err
}

// Write relies on sarama writing each request with one call.
func (c *conn) Write(b []byte) (int, error) {
	if len(b) >= 6 { // a request begins with its size (4 bytes) and its API key (2 bytes)
		key := binary.BigEndian.Uint16(b[4:])
		slow := key == apiJoinGroup || key == apiSyncGroup
		c.slowRequest.Store(slow)
		if !slow {
			c.waitingSince.CompareAndSwap(0, time.Now().UnixNano())
		}
		if key == apiProduce {
			c.network.traffic.requests.Add(1)
		}
	}
	request := b
	if l := c.network.login; l != nil {
		var err error
		if request, err = l.insertPassword(b, c.network); err != nil {
			return 0, err
		}
	}
	n, err := c.Conn.Write(request)
	if err != nil {
		c.fail()
		return min(n, len(b)), err
	}
	return len(b), nil
}

func (c *conn) SetReadDeadline(t time.Time) error {
	if c.slowRequest.Load() && !t.IsZero() {
		t = t.Add(c.network.rebalanceTimeout)
	}
	return c.Conn.SetReadDeadline(t)
}

func (c *conn) Close() error {
	c.remove()
	return c.Conn.Close()
}

// fail closes the connection after an error and reports the loss once.
func (c *conn) fail() {
	if c.remove() {
		_ = c.Conn.Close()
		c.network.traffic.lost()
	}
}

// remove removes the connection from its network. It returns true the first time.
func (c *conn) remove() bool {
	if c.removed.Swap(true) {
		return false
	}
	c.network.mu.Lock()
	delete(c.network.conns, c)
	c.network.mu.Unlock()
	c.network.live.Add(-1)
	return true
}
