package main

import (
	"context"
	"encoding/binary"
	"net"
	"sync/atomic"
)

// produceKey is the API key of a produce request.
const produceKey = 0

// dialer makes connections to brokers that count the produce requests written to
// them, whichever client writes.
type dialer struct{ produced atomic.Int64 }

// Dial is sarama's way to it, by Net.Proxy.
func (d *dialer) Dial(network, addr string) (net.Conn, error) {
	return d.DialContext(context.Background(), network, addr)
}

// DialContext is franz-go's and our way.
func (d *dialer) DialContext(ctx context.Context, network, addr string) (net.Conn, error) {
	var nd net.Dialer
	c, err := nd.DialContext(ctx, network, addr)
	if err != nil {
		return nil, err
	}
	return &countedConn{Conn: c, dialer: d}, nil
}

// countedConn follows the frames that are written: a length of four bytes, then the
// API key in two.
type countedConn struct {
	net.Conn
	dialer *dialer
	head   []byte // the first six bytes of a frame, as far as they have come
	body   int    // what is left of the frame
}

func (c *countedConn) Write(b []byte) (int, error) {
	for rest := b; len(rest) > 0; {
		if c.body > 0 {
			n := min(c.body, len(rest))
			c.body, rest = c.body-n, rest[n:]
			continue
		}
		n := min(6-len(c.head), len(rest))
		c.head, rest = append(c.head, rest[:n]...), rest[n:]
		if len(c.head) < 6 {
			break
		}
		if binary.BigEndian.Uint16(c.head[4:]) == produceKey {
			c.dialer.produced.Add(1)
		}
		c.body, c.head = int(binary.BigEndian.Uint32(c.head))-2, c.head[:0]
	}
	return c.Conn.Write(b)
}
