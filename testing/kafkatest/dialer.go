package kafkatest

import (
	"context"
	"net"
	"net/netip"
	"os"
	"sync"
	"syscall"
	"time"
)

// DefaultDialTimeout is the default of Dialer.Timeout.
const DefaultDialTimeout = 10 * time.Second

// Dialer opens TCP connections and can interrupt and restore their network. Kafka
// clients connect to the addresses that brokers advertise, so they would bypass a
// proxy. They do not bypass their dialer. With sarama, set
//
//	conf.Net.Proxy.Enable = true
//	conf.Net.Proxy.Dialer = dialer
//
// With franz-go, use the option kgo.Dialer(dialer.DialContext).
//
// The network is up, cut or stalled, according to the latest call of [Dialer.Cut],
// [Dialer.Stall] or [Dialer.Restore]. The zero Dialer is ready for use, and its
// network is up. All methods are safe for concurrent use. A Dialer must not be
// copied after first use.
type Dialer struct {
	// Timeout limits each dial. The default is DefaultDialTimeout. Set it before
	// the first dial.
	Timeout time.Duration

	mu    sync.Mutex
	state linkState
	cuts  int // calls of Cut; a dial compares it before and after
	conns map[*faultConn]struct{}
}

type linkState int

const (
	linkUp linkState = iota
	linkCut
	linkStalled
)

// Cut closes all connections and makes dials fail until Restore or Stall. Reads and
// writes fail with ECONNRESET and dials with ECONNREFUSED, each in a *net.OpError, like
// errors of the operating system.
func (d *Dialer) Cut() {
	d.mu.Lock()
	d.state = linkCut
	d.cuts++
	reset := d.takeConns()
	d.mu.Unlock()
	resetAll(reset)
}

// Stall keeps connections open and transmits nothing, like a paused broker. Writes
// succeed and their data is lost. Reads block until their deadline. The client
// receives no data from the peer, and does not see when the peer closes the
// connection. New dials succeed, and their connections are stalled too.
func (d *Dialer) Stall() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.state = linkStalled
	for c := range d.conns {
		c.setStalled()
	}
}

// Restore ends Cut and Stall, so that new connections work. It closes connections
// that were stalled, because they have lost data; they fail with ECONNRESET.
func (d *Dialer) Restore() {
	d.mu.Lock()
	var reset []*faultConn
	if d.state == linkStalled {
		reset = d.takeConns()
	}
	d.state = linkUp
	d.mu.Unlock()
	resetAll(reset)
}

// Conns returns the number of open connections, including stalled ones.
func (d *Dialer) Conns() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return len(d.conns)
}

// Dial connects to addr within Timeout. It implements the Dialer of
// golang.org/x/net/proxy, which sarama uses.
func (d *Dialer) Dial(network, addr string) (net.Conn, error) {
	return d.DialContext(context.Background(), network, addr)
}

// DialContext connects to addr within Timeout and ctx. It fails if Cut is called
// meanwhile, even if Restore follows at once.
func (d *Dialer) DialContext(ctx context.Context, network, addr string) (net.Conn, error) {
	d.mu.Lock()
	state, cuts := d.state, d.cuts
	d.mu.Unlock()
	if state == linkCut {
		return nil, refused(network, addr)
	}

	timeout := d.Timeout
	if timeout <= 0 {
		timeout = DefaultDialTimeout
	}
	nd := net.Dialer{Timeout: timeout}
	raw, err := nd.DialContext(ctx, network, addr)
	if err != nil {
		return nil, err
	}
	c := newFaultConn(d, raw)

	d.mu.Lock()
	if d.cuts != cuts {
		d.mu.Unlock()
		_ = c.release()
		return nil, refused(network, addr)
	}
	if d.conns == nil {
		d.conns = make(map[*faultConn]struct{})
	}
	d.conns[c] = struct{}{}
	if d.state == linkStalled {
		c.setStalled()
	}
	d.mu.Unlock()
	return c, nil
}

// takeConns returns the open connections and empties the set. d.mu is held.
func (d *Dialer) takeConns() []*faultConn {
	taken := make([]*faultConn, 0, len(d.conns))
	for c := range d.conns {
		taken = append(taken, c)
	}
	clear(d.conns)
	return taken
}

func (d *Dialer) forget(c *faultConn) {
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.conns, c)
}

func resetAll(conns []*faultConn) {
	for _, c := range conns {
		c.reset()
	}
}

func refused(network, addr string) error {
	err := &net.OpError{Op: "dial", Net: network, Err: os.NewSyscallError("connect", syscall.ECONNREFUSED)}
	if ap, parseErr := netip.ParseAddrPort(addr); parseErr == nil {
		err.Addr = net.TCPAddrFromAddrPort(ap)
	}
	return err
}
