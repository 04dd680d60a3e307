package main

import (
	"context"
	"encoding/binary"
	"net"
	"sync/atomic"
)

// produceKey is the API key of a produce request.
const produceKey = 0

// dialer dials connections that count the produce requests that a client writes to them.
type dialer struct{ produced atomic.Int64 }

// Dial is for sarama, which calls it through Net.Proxy.
func (d *dialer) Dial(network, addr string) (net.Conn, error) {
	return d.DialContext(context.Background(), network, addr)
}

// DialContext is for franz-go and for our transport.
func (d *dialer) DialContext(ctx context.Context, network, addr string) (net.Conn, error) {
	var nd net.Dialer
	c, err := nd.DialContext(ctx, network, addr)
	if err != nil {
		return nil, err
	}
	return &countedConn{Conn: c, dialer: d}, nil
}

// countedConn parses the written frames: a length of four bytes, then the API key of two bytes.
type countedConn struct {
	net.Conn
	dialer *dialer
	head   []byte // the first six bytes of a frame, or fewer if they are not written yet
	body   int    // the number of bytes of the frame that are not written yet
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
