package memory

import (
	"encoding/binary"
	"slices"
	"time"

	"github.com/trunkline/trunkline/bus/driver"
)

// entry is what the ring knows of a record; its text is in a chunk. There is no pointer
// in it: what a log keeps, however much that is, costs the collector nothing.
type entry struct {
	offset  int64
	chunk   int64 // the number of the chunk that has its text
	at      int   // where that begins
	body    int   // how long key and payload are together
	size    int64 // of what counts against the limits; -1 in a slot whose record is gone
	seconds int64 // of the timestamp, since 1970
	nanos   int32
	headers int32 // how many
}

func (e *entry) timestamp() time.Time { return time.Unix(e.seconds, int64(e.nanos)) }

func (e *entry) empty() bool { return e.size < 0 }

// draft is a message on its way into a partition. It refers to the message's key and
// payload; the rest is encoded, before a partition's lock is taken. It can be written
// again.
//
// A record's text is, with lengths as varints, and those of key and payload one higher,
// so that 0 is nil: the lengths of UUID, key and payload, the number of headers, the
// lengths of their names and values; then all of these, in the order UUID, headers,
// key, payload.
type draft struct {
	entry
	head         []byte // the lengths of UUID, key and payload, and the number of headers
	lengths      []byte // of the headers' names and values
	names        []byte // the UUID, and the headers' names and values
	key, payload []byte
}

// write makes d the draft of o; now is for a message without a timestamp.
func (d *draft) write(o *driver.Outgoing, now time.Time) {
	timestamp := o.Timestamp
	if timestamp.IsZero() {
		timestamp = now
	}
	d.key, d.payload = o.Key, o.Payload
	body := len(d.key) + len(d.payload)
	d.entry = entry{body: body, size: int64(body), seconds: timestamp.Unix(), nanos: int32(timestamp.Nanosecond())}
	d.headers = int32(len(o.Headers))
	lengths, names := d.lengths[:0], append(d.names[:0], o.UUID...)
	for i := range o.Headers {
		k, v := o.Headers[i].Key, o.Headers[i].Value
		d.size += int64(len(k) + len(v))
		lengths = binary.AppendUvarint(binary.AppendUvarint(lengths, uint64(len(k))), uint64(len(v)))
		names = append(append(names, k...), v...)
	}
	d.lengths, d.names = lengths, names
	d.head = binary.AppendUvarint(d.head[:0], uint64(len(o.UUID)))
	d.head = appendLength(d.head, d.key)
	d.head = appendLength(d.head, d.payload)
	d.head = binary.AppendUvarint(d.head, uint64(d.headers))
}

// text is how long the record's text is.
func (d *draft) text() int { return len(d.head) + len(d.lengths) + len(d.names) + d.body }

func appendLength(to, b []byte) []byte {
	if b == nil {
		return append(to, 0)
	}
	return binary.AppendUvarint(to, uint64(len(b))+1)
}

// cursor reads a record's text.
type cursor string

func (c *cursor) uvarint() int {
	n, shift := 0, 0
	for i := 0; ; i++ {
		b := (*c)[i]
		n |= int(b&0x7f) << shift
		if b < 0x80 {
			*c = (*c)[i+1:]
			return n
		}
		shift += 7
	}
}

func (c *cursor) take(n int) string {
	s := (*c)[:n]
	*c = (*c)[n:]
	return string(s)
}

// pick is what a reader takes from a log while it has its lock.
type pick struct {
	entry
	text string
}

// records makes records of what was picked, and appends them to all. What they are made
// of is not the log's, but for strings, which nobody can change.
func (p *partition) records(all []driver.Record, picked []pick) []driver.Record {
	headers, bodies := 0, 0
	for i := range picked {
		headers += int(picked[i].headers)
		bodies += picked[i].body
	}
	made := pages{headers: make([]driver.Header, 0, headers), bodies: make([]byte, 0, bodies)}
	first := len(all)
	all = slices.Grow(all, len(picked))[:first+len(picked)]
	for i := range picked {
		e, r := &picked[i], &all[first+i]
		r.Topic, r.Partition, r.Offset, r.Timestamp = p.topic, p.id, e.offset, e.timestamp()
		made.read(e.text, r)
	}
	return all
}

// pages is the memory that the records of a Fetch are put in: their headers, and their
// keys and payloads, which are their readers' own.
type pages struct {
	headers []driver.Header
	bodies  []byte
}

// bytes copies s; n is its length and one, 0 for nil.
func (p *pages) bytes(c *cursor, n int) []byte {
	if n == 0 {
		return nil
	}
	from := len(p.bodies)
	p.bodies = append(p.bodies, c.take(n-1)...)
	return p.bodies[from:len(p.bodies):len(p.bodies)]
}

// read makes r the record with this text, but for what is not in there. The strings are
// part of the text.
func (p *pages) read(text string, r *driver.Record) {
	c := cursor(text)
	uuid, key, payload, headers := c.uvarint(), c.uvarint(), c.uvarint(), c.uvarint()
	lengths := c
	for range 2 * headers {
		c.uvarint()
	}
	r.UUID = c.take(uuid)
	r.Headers = nil
	if headers > 0 {
		from := len(p.headers)
		for range headers {
			name, value := lengths.uvarint(), lengths.uvarint()
			p.headers = append(p.headers, driver.Header{Key: c.take(name), Value: c.take(value)})
		}
		r.Headers = p.headers[from:len(p.headers):len(p.headers)]
	}
	r.Key, r.Payload = p.bytes(&c, key), p.bytes(&c, payload)
}

// keyIn returns the key in a record's text, "" for nil.
func keyIn(text string) string {
	c := cursor(text)
	uuid, key, _, headers := c.uvarint(), c.uvarint(), c.uvarint(), c.uvarint()
	if key == 0 {
		return ""
	}
	skip := uuid
	for range 2 * headers {
		skip += c.uvarint()
	}
	c.take(skip)
	return c.take(key - 1)
}
