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

// DefaultDialTimeout bounds a dial through a [Dialer] that sets no Timeout.
const DefaultDialTimeout = 10 * time.Second

// Dialer dials TCP connections whose network a test can take away and give
// back. Brokers advertise their own addresses, so a proxy in front of one is
// bypassed; a client's dialer is not. In sarama set
//
//	conf.Net.Proxy.Enable = true
//	conf.Net.Proxy.Dialer = dialer
//
// and in franz-go kgo.Dialer(dialer.DialContext).
//
// The network is up, cut or stalled; the latest of [Dialer.Cut],
// [Dialer.Stall] and [Dialer.Restore] says which. The zero Dialer is up and
// ready for use. All methods are safe for concurrent use; a Dialer must not be
// copied after first use.
type Dialer struct {
	// Timeout bounds each dial; zero means DefaultDialTimeout. Set it before
	// the first dial.
	Timeout time.Duration

	mu    sync.Mutex
	state linkState
	cuts  int // how often Cut was called: tells a dial that one came between
	conns map[*faultConn]struct{}
}

type linkState int

const (
	linkUp linkState = iota
	linkCut
	linkStalled
)

// Cut closes every open connection and refuses new ones until Restore: reads
// and writes fail with ECONNRESET, dials with ECONNREFUSED, each in a
// *net.OpError as the operating system would answer.
func (d *Dialer) Cut() {
	d.mu.Lock()
	d.state = linkCut
	d.cuts++
	reset := d.takeConns()
	d.mu.Unlock()
	resetAll(reset)
}

// Stall leaves connections open and lets nothing through, as a paused broker
// does: writes succeed and their bytes are lost, reads block until their
// deadline, and what the peer sends, its closing included, is not seen. New
// dials succeed and are stalled too.
func (d *Dialer) Stall() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.state = linkStalled
	for c := range d.conns {
		c.setStalled()
	}
}

// Restore ends Cut and Stall: new connections work. Those that were stalled
// have lost bytes, so they are closed; they fail with ECONNRESET.
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

// Conns returns how many connections are open, stalled ones included.
func (d *Dialer) Conns() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return len(d.conns)
}

// Dial connects to addr within Timeout. It is what sarama calls, by way of
// golang.org/x/net/proxy.Dialer.
func (d *Dialer) Dial(network, addr string) (net.Conn, error) {
	return d.DialContext(context.Background(), network, addr)
}

// DialContext connects to addr within Timeout and ctx. A Cut while it dials
// makes it fail even when Restore follows at once.
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
		c.release()
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

// takeConns empties the set of open connections. d.mu is held.
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
