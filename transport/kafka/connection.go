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

// DialFunc opens a connection to a broker. It must end with ctx.
type DialFunc func(ctx context.Context, network, addr string) (net.Conn, error)

// traffic is what all connections of a transport together tell its monitor.
type traffic struct {
	read     atomic.Uint64 // successful reads
	requests atomic.Uint64 // produce requests written
	produced atomic.Uint64 // records acknowledged
	lost     func()        // called when a connection dies or can't be made; does not block
}

// network makes and counts the connections of one sarama client. It is the client's
// proxy dialer, so nothing reaches a broker but through it, and cutting it ends
// whatever the client is waiting for.
type network struct {
	dial        DialFunc
	tls         *encryption // nil is none
	login       *login      // nil is none
	logger      *slog.Logger
	dialTimeout time.Duration
	// patience is added to the read deadline of requests that the broker holds until
	// other members of the group have answered.
	patience time.Duration
	traffic  *traffic
	guard    *guard // nil when nobody guards it

	ctx    context.Context
	cancel context.CancelFunc
	opened atomic.Int64 // connections made so far
	live   atomic.Int64

	mu     sync.Mutex
	conns  map[*conn]struct{}
	failed map[string]time.Time // when the last dial to an address failed
}

func newNetwork(o *options, t *traffic) *network {
	ctx, cancel := context.WithCancel(context.Background())
	return &network{
		failed: make(map[string]time.Time),
		dial:   o.dial, tls: o.tls, login: o.login, logger: o.logger,
		dialTimeout: o.times.Dial, patience: o.times.Rebalance, traffic: t,
		ctx: ctx, cancel: cancel, conns: make(map[*conn]struct{}),
	}
}

// Dial implements the proxy dialer of sarama.
func (n *network) Dial(netw, addr string) (net.Conn, error) {
	if err := n.admit(netw, addr); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(n.ctx, n.dialTimeout)
	defer cancel()
	raw, err := n.handshake(ctx, netw, addr)
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

// admit makes a dial wait that comes right after one that failed, and refuses one to a
// broker that is kept out.
func (n *network) admit(netw, addr string) error {
	n.mu.Lock()
	wait := dialPause - time.Since(n.failed[addr])
	n.mu.Unlock()
	out := n.guard != nil && n.guard.keptOut(addr)
	if out {
		wait = dialPause
	}
	if wait > 0 {
		sleep(n.ctx, wait)
	}
	if out {
		return refuse(netw)
	}
	return nil
}

// opHandshake is the operation of a *net.OpError about TLS.
const opHandshake = "TLS handshake"

func (n *network) handshake(ctx context.Context, netw, addr string) (net.Conn, error) {
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

// reset closes every connection; new ones may be made.
func (n *network) reset() { n.resetTo("") }

// resetTo closes the connections to one address, or all.
func (n *network) resetTo(addr string) {
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

// slow adds the addresses of which an answer has been due for longer than d.
func (n *network) slow(d time.Duration, found map[string]bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for c := range n.conns {
		if since := c.waiting.Load(); since != 0 && time.Since(time.Unix(0, since)) > d {
			found[c.addr] = true
		}
	}
}

// cut closes every connection and refuses new ones, for good.
func (n *network) cut() {
	n.cancel()
	if n.guard != nil {
		n.guard.remove(n)
	}
	n.reset()
}

// conn reports its first error, unless it was closed first, and ends with it: sarama goes
// on with one on which the brokers' API versions did not come in time, for two time-outs more.
type conn struct {
	net.Conn
	network *network
	addr    string
	patient atomic.Bool
	gone    atomic.Bool
	waiting atomic.Int64 // when the request was sent that nothing has been read after, 0 for none
}

const (
	apiProduce   = 0
	apiJoinGroup = 11
	apiSyncGroup = 14
)

func (c *conn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	if err != nil {
		c.died()
	} else {
		c.waiting.Store(0)
		c.network.traffic.read.Add(1)
	}
	return n, err
}

func (c *conn) Write(b []byte) (int, error) {
	if len(b) >= 6 {
		// sarama writes a request with one call: size, API key, …
		key := binary.BigEndian.Uint16(b[4:])
		patient := key == apiJoinGroup || key == apiSyncGroup
		c.patient.Store(patient)
		if !patient {
			c.waiting.CompareAndSwap(0, time.Now().UnixNano())
		}
		if key == apiProduce {
			c.network.traffic.requests.Add(1)
		}
	}
	request := b
	if l := c.network.login; l != nil {
		var err error
		if request, err = l.substitute(b, c.network); err != nil {
			return 0, err
		}
	}
	n, err := c.Conn.Write(request)
	if err != nil {
		c.died()
		return min(n, len(b)), err
	}
	return len(b), nil
}

func (c *conn) SetReadDeadline(t time.Time) error {
	if c.patient.Load() && !t.IsZero() {
		t = t.Add(c.network.patience)
	}
	return c.Conn.SetReadDeadline(t)
}

func (c *conn) Close() error {
	c.forget()
	return c.Conn.Close()
}

func (c *conn) died() {
	if c.forget() {
		_ = c.Conn.Close()
		c.network.traffic.lost()
	}
}

// forget says whether this was the first to take note that the connection is gone.
func (c *conn) forget() bool {
	if c.gone.Swap(true) {
		return false
	}
	c.network.mu.Lock()
	delete(c.network.conns, c)
	c.network.mu.Unlock()
	c.network.live.Add(-1)
	return true
}
