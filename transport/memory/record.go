package memory

import (
	"encoding/binary"
	"slices"
	"time"

	"github.com/trunkline/trunkline/bus/driver"
)

// entry is the fixed part of a stored record. The variable part, its text, is in a chunk.
// An entry contains no pointers, so the records of a log cost the garbage collector no
// work, however many there are.
type entry struct {
	offset  int64
	chunk   int64 // number of the chunk with the text
	start   int   // index of the text in the chunk
	body    int   // length of key and payload together
	size    int64 // bytes that count against the limits; -1 if compaction emptied the slot
	seconds int64 // timestamp: seconds since 1970
	nanos   int32 // timestamp: nanoseconds within the second
	headers int32 // number of headers
}

func (e *entry) timestamp() time.Time { return time.Unix(e.seconds, int64(e.nanos)) }

func (e *entry) empty() bool { return e.size < 0 }

// draft is an encoded message that is not in a partition yet. It is encoded before the
// lock of the partition is taken. It refers to the key and the payload of the message,
// and copies the rest. A draft is reused.
//
// The text of a record is a sequence of varints, then a sequence of bytes. The varints
// are the lengths of UUID, key and payload, the number of headers, and the lengths of
// the name and the value of each header. The lengths of key and payload are stored
// plus one, and 0 means nil. The bytes are UUID, header names and values, key, payload.
type draft struct {
	entry
	head         []byte // lengths of UUID, key and payload, number of headers
	lengths      []byte // lengths of header names and values
	names        []byte // UUID, header names and values
	key, payload []byte
}

// encode sets d to the encoding of o. now is the timestamp of a message without one.
func (d *draft) encode(o *driver.Outgoing, now time.Time) {
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

// textLen returns the length of the record's text.
func (d *draft) textLen() int { return len(d.head) + len(d.lengths) + len(d.names) + d.body }

// appendLength appends the length of b plus one, or 0 if b is nil.
func appendLength(to, b []byte) []byte {
	if b == nil {
		return append(to, 0)
	}
	return binary.AppendUvarint(to, uint64(len(b))+1)
}

// decoder reads the text of a record from the front.
type decoder string

func (d *decoder) uvarint() int {
	n, shift := 0, 0
	for i := 0; ; i++ {
		b := (*d)[i]
		n |= int(b&0x7f) << shift
		if b < 0x80 {
			*d = (*d)[i+1:]
			return n
		}
		shift += 7
	}
}

func (d *decoder) take(n int) string {
	s := (*d)[:n]
	*d = (*d)[n:]
	return string(s)
}

// encodedRecord is a stored record. A reader takes it under the lock of the partition,
// and decodes it without the lock.
type encodedRecord struct {
	entry
	text string // begins with the text of the record
}

// decode appends the decoded records to all. The result shares only strings with the
// log, and strings do not change.
func (p *partition) decode(all []driver.Record, encoded []encodedRecord) []driver.Record {
	headers, bodies := 0, 0
	for i := range encoded {
		headers += int(encoded[i].headers)
		bodies += encoded[i].body
	}
	a := arena{headers: make([]driver.Header, 0, headers), bodies: make([]byte, 0, bodies)}
	first := len(all)
	all = slices.Grow(all, len(encoded))[:first+len(encoded)]
	for i := range encoded {
		e, r := &encoded[i], &all[first+i]
		r.Topic, r.Partition, r.Offset, r.Timestamp = p.topic, p.id, e.offset, e.timestamp()
		a.decode(e.text, r)
	}
	return all
}

// arena is the memory for the headers, keys and payloads of one Fetch. The caller of
// Fetch owns it.
type arena struct {
	headers []driver.Header
	bodies  []byte
}

// decode sets the UUID, the headers, the key and the payload of r. The strings refer to
// text.
func (a *arena) decode(text string, r *driver.Record) {
	d := decoder(text)
	uuid, key, payload, headers := d.uvarint(), d.uvarint(), d.uvarint(), d.uvarint()
	lengths := d
	for range 2 * headers {
		d.uvarint()
	}
	r.UUID = d.take(uuid)
	r.Headers = nil
	if headers > 0 {
		from := len(a.headers)
		for range headers {
			name, value := lengths.uvarint(), lengths.uvarint()
			a.headers = append(a.headers, driver.Header{Key: d.take(name), Value: d.take(value)})
		}
		r.Headers = a.headers[from:len(a.headers):len(a.headers)]
	}
	r.Key, r.Payload = a.bytes(&d, key), a.bytes(&d, payload)
}

// bytes copies the next n-1 bytes, because n is a stored length: the length plus one, or 0
// for nil.
func (a *arena) bytes(d *decoder, n int) []byte {
	if n == 0 {
		return nil
	}
	from := len(a.bodies)
	a.bodies = append(a.bodies, d.take(n-1)...)
	return a.bodies[from:len(a.bodies):len(a.bodies)]
}

// decodeKey returns the key in the text of a record, "" if it is nil.
func decodeKey(text string) string {
	d := decoder(text)
	uuid, key, _, headers := d.uvarint(), d.uvarint(), d.uvarint(), d.uvarint()
	if key == 0 {
		return ""
	}
	skip := uuid
	for range 2 * headers {
		skip += d.uvarint()
	}
	d.take(skip)
	return d.take(key - 1)
}
