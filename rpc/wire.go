package rpc

import (
	"encoding/base64"
	"fmt"
	"strconv"
	"strings"
	"time"

	spb "google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/trunkline/trunkline/bus"
)

// Wire is the form frames have as records. It is used by many goroutines at once.
type Wire interface {
	// Encode makes r, which is empty before, the record of f: UUID, Key, Headers and Payload;
	// the rest is not the wire's. r's Key and Headers may have memory to append to. It
	// refers to f.Body and to nothing else of f afterwards; neither is changed until r has
	// been published. Then r is emptied, and used for another frame.
	Encode(f *Frame, r *bus.Record) error
	// Decode reads r into f, which is zero before and refers to r's payload
	// afterwards. ReplyPartition and Attempt have defaults that are not zero. r is not
	// to be trusted: whatever is in it, Decode returns, and bounds what it accepts. When it
	// fails f holds what could be read before, so that the other side can be told.
	// An error with a status (an *Error) says which code to tell it by; the default
	// is InvalidArgument. Decode must neither change r nor keep it.
	Decode(r *bus.Record, f *Frame) error
}

// The headers of [HeaderWire]. docs/wire.md says what they mean.
const (
	HeaderFrame          = "trunkline-rpc-frame"
	HeaderID             = "trunkline-rpc-id"
	HeaderStream         = "trunkline-rpc-stream"
	HeaderMethod         = "trunkline-rpc-method"
	HeaderCaller         = "trunkline-rpc-caller"
	HeaderReplyTo        = "trunkline-rpc-reply-to"
	HeaderReplyPartition = "trunkline-rpc-reply-partition"
	HeaderDeadline       = "trunkline-rpc-deadline"
	HeaderAttempt        = "trunkline-rpc-attempt"
	HeaderServer         = "trunkline-rpc-server"
	HeaderIdempotencyKey = "trunkline-rpc-idempotency-key"
	HeaderContentType    = "trunkline-rpc-content-type"
	HeaderStatus         = "trunkline-rpc-status"
	HeaderMessage        = "trunkline-rpc-message"
	HeaderDetails        = "trunkline-rpc-details"
)

// What HeaderWire accepts and sends at the most, in bytes.
const (
	maxID          = 128
	maxName        = 255 // method, caller, reply topic, server
	maxIdempotency = 128
	maxContentType = 128
	maxMessage     = 16 << 10
	maxDetails     = 64 << 10 // as base64
	maxMetadata    = 64 << 10 // names and values together
	maxEntries     = 128      // of metadata
)

const (
	reservedPrefix = "trunkline-"
	wireVersion    = "1"
)

// endOfTime is about where nanoseconds since 1970 end; a deadline after it is none.
var endOfTime = time.Unix(1<<33, 0)

// frameHeaders are the values of HeaderFrame, so that none is built for each frame.
var frameHeaders = func() (h [len(kindNames)]string) {
	for k := KindRequest; int(k) < len(kindNames); k++ {
		h[k] = wireVersion + " " + kindNames[k]
	}
	return h
}()

// HeaderWire is the default [Wire]: what the protocol needs is in headers, the payload is
// the body, and user metadata are headers under their own names. The zero value is ready
// to use.
type HeaderWire struct{}

// Encode implements [Wire]. A part that is too long, or metadata under a reserved
// name, is an InvalidArgument error; status messages are cut instead, at 16 KiB.
func (HeaderWire) Encode(f *Frame, r *bus.Record) error {
	if f.Kind == 0 || int(f.Kind) >= len(frameHeaders) {
		return invalidFrame("the frame's kind is %s", f.Kind)
	}
	if err := checkBounds(f, false); err != nil {
		return err
	}
	h := append(r.Headers, bus.Header{Key: HeaderFrame, Value: frameHeaders[f.Kind]}, bus.Header{Key: HeaderID, Value: f.ID})
	put := func(name, value string) {
		if value != "" {
			h = append(h, bus.Header{Key: name, Value: value})
		}
	}
	put(HeaderMethod, f.Method)
	put(HeaderCaller, f.Caller)
	put(HeaderReplyTo, f.ReplyTo)
	put(HeaderServer, f.Server)
	put(HeaderIdempotencyKey, f.IdempotencyKey)
	put(HeaderContentType, f.ContentType)
	if f.Stream != 0 {
		put(HeaderStream, strconv.FormatUint(f.Stream, 10))
	}
	if f.ReplyTo != "" && f.ReplyPartition >= 0 {
		put(HeaderReplyPartition, strconv.Itoa(int(f.ReplyPartition)))
	}
	if !f.Deadline.IsZero() && f.Deadline.Before(endOfTime) {
		put(HeaderDeadline, strconv.FormatInt(f.Deadline.UnixNano(), 10))
	}
	if f.Attempt > 1 {
		put(HeaderAttempt, strconv.Itoa(f.Attempt))
	}
	h, err := encodeStatus(h, f.Status)
	if err != nil {
		return err
	}
	size := 0
	for k, v := range f.Metadata {
		if strings.HasPrefix(k, reservedPrefix) {
			return invalidFrame("metadata %q: names that begin with %q are reserved", k, reservedPrefix)
		}
		size += len(k) + len(v)
		h = append(h, bus.Header{Key: k, Value: v})
	}
	if size > maxMetadata || len(f.Metadata) > maxEntries {
		return invalidFrame("%d entries of metadata with %d bytes: the limits are %d and %d", len(f.Metadata), size, maxEntries, maxMetadata)
	}
	r.Headers, r.Payload = h, f.Body
	if f.Key != "" && f.Kind != KindReply { // of a reply the topic decides everything
		r.Key = append(r.Key, f.Key...)
	}
	return nil
}

// newRecord returns an empty record for Encode.
func newRecord() *bus.Record {
	return &bus.Record{Partition: AnyPartition, Headers: make([]bus.Header, 0, 10)}
}

// emptied makes a record that was published one for Encode again.
func emptied(r *bus.Record) {
	clear(r.Headers)
	*r = bus.Record{Partition: AnyPartition, Key: r.Key[:0], Headers: r.Headers[:0]}
}

func encodeStatus(h []bus.Header, st *status.Status) ([]bus.Header, error) {
	if st.Code() == codes.OK {
		return h, nil
	}
	h = append(h, bus.Header{Key: HeaderStatus, Value: strconv.Itoa(int(st.Code()))})
	if text := st.Message(); text != "" {
		h = append(h, bus.Header{Key: HeaderMessage, Value: strings.ToValidUTF8(text[:min(len(text), maxMessage)], "")})
	}
	p := st.Proto()
	if len(p.GetDetails()) == 0 {
		return h, nil
	}
	raw, err := proto.Marshal(&spb.Status{Details: p.GetDetails()})
	if err != nil {
		return nil, invalidFrame("the status details can't be encoded: %v", err)
	}
	text := base64.StdEncoding.EncodeToString(raw)
	if len(text) > maxDetails {
		return nil, invalidFrame("the status details have %d bytes in base64, the limit is %d", len(text), maxDetails)
	}
	return append(h, bus.Header{Key: HeaderDetails, Value: text}), nil
}

// headers are those of a record that the protocol knows, and how much else there is.
type headers struct {
	frame, replyPartition, deadline, attempt, stream, status, message, details string
	users, userBytes                                                           int
}

// read tells apart what is the protocol's and what is not. Of a name that comes twice
// the last counts.
func (h *headers) read(r *bus.Record, f *Frame) {
	for i := range r.Headers {
		name, value := r.Headers[i].Key, r.Headers[i].Value
		if !strings.HasPrefix(name, reservedPrefix) {
			h.users++
			h.userBytes += len(name) + len(value)
			continue
		}
		switch name {
		case HeaderFrame:
			h.frame = value
		case HeaderID:
			f.ID = value
		case HeaderCaller:
			f.Caller = value
		case HeaderReplyTo:
			f.ReplyTo = value
		case HeaderMethod:
			f.Method = value
		case HeaderContentType:
			f.ContentType = value
		case HeaderServer:
			f.Server = value
		case HeaderIdempotencyKey:
			f.IdempotencyKey = value
		case HeaderReplyPartition:
			h.replyPartition = value
		case HeaderDeadline:
			h.deadline = value
		case HeaderAttempt:
			h.attempt = value
		case HeaderStream:
			h.stream = value
		case HeaderStatus:
			h.status = value
		case HeaderMessage:
			h.message = value
		case HeaderDetails:
			h.details = value
		}
	}
}

// Decode implements [Wire]. A version that is not spoken here is an Unimplemented
// error, anything else that is wrong an InvalidArgument.
func (HeaderWire) Decode(r *bus.Record, f *Frame) error {
	f.ReplyPartition, f.Attempt = AnyPartition, 1
	f.Body, f.Key = r.Payload, string(r.Key)
	var h headers
	h.read(r, f)
	if err := checkBounds(f, true); err != nil {
		return err
	}
	version, kind, ok := strings.Cut(h.frame, " ")
	switch {
	case !ok:
		return invalidFrame("header %s is %s: it is not a request or reply of this protocol", HeaderFrame, excerpt(h.frame))
	case version != wireVersion:
		return newError(codes.Unimplemented, fmt.Sprintf("version %s of the protocol is not spoken here, only %s", excerpt(version), wireVersion), nil)
	}
	if f.Kind, ok = kindOf(kind); !ok {
		return newError(codes.Unimplemented, fmt.Sprintf("frames of kind %s are not known here", excerpt(kind)), nil)
	}
	if err := h.numbers(f); err != nil {
		return err
	}
	if f.ID == "" {
		return invalidFrame("header %s is missing", HeaderID)
	}
	if f.Kind == KindReply {
		if err := h.replyStatus(f); err != nil {
			return err
		}
	}
	return h.metadata(r, f)
}

func (h *headers) numbers(f *Frame) error {
	if s := h.replyPartition; s != "" {
		n, err := strconv.ParseInt(s, 10, 32)
		if err != nil || n < 0 {
			return invalidFrame("header %s is %s, not a partition", HeaderReplyPartition, excerpt(s))
		}
		f.ReplyPartition = int32(n)
	}
	if s := h.deadline; s != "" {
		n, err := strconv.ParseInt(s, 10, 64)
		if err != nil || n < 0 {
			return invalidFrame("header %s is %s, not nanoseconds since 1970", HeaderDeadline, excerpt(s))
		}
		f.Deadline = time.Unix(0, n)
	}
	if s := h.attempt; s != "" {
		n, err := strconv.ParseInt(s, 10, 32)
		if err != nil || n < 1 {
			return invalidFrame("header %s is %s, not a number from 1", HeaderAttempt, excerpt(s))
		}
		f.Attempt = int(n)
	}
	if s := h.stream; s != "" {
		n, err := strconv.ParseUint(s, 10, 64)
		if err != nil {
			return invalidFrame("header %s is %s, not a number", HeaderStream, excerpt(s))
		}
		f.Stream = n
	}
	return nil
}

func (h *headers) replyStatus(f *Frame) error {
	s := h.status
	if s == "" {
		return nil
	}
	code, err := strconv.ParseUint(s, 10, 8)
	if err != nil {
		return invalidFrame("header %s is %s, not a status code", HeaderStatus, excerpt(s))
	}
	if code == 0 {
		return nil
	}
	text, details := h.message, h.details
	if len(text) > maxMessage || len(details) > maxDetails {
		return invalidFrame("headers %s and %s have %d and %d bytes: the limits are %d and %d",
			HeaderMessage, HeaderDetails, len(text), len(details), maxMessage, maxDetails)
	}
	p := &spb.Status{}
	if details != "" {
		raw, err := base64.StdEncoding.DecodeString(details)
		if err == nil {
			err = proto.Unmarshal(raw, p)
		}
		if err != nil {
			return invalidFrame("header %s can't be decoded: %v", HeaderDetails, err)
		}
	}
	p.Code, p.Message = int32(code), strings.ToValidUTF8(text, "\uFFFD")
	f.Status = status.FromProto(p)
	return nil
}

// metadata copies what is not the protocol's.
func (h *headers) metadata(r *bus.Record, f *Frame) error {
	if h.users == 0 {
		return nil
	}
	if h.users > maxEntries || h.userBytes > maxMetadata {
		return invalidFrame("%d entries of metadata with %d bytes: the limits are %d and %d", h.users, h.userBytes, maxEntries, maxMetadata)
	}
	f.Metadata = make(Metadata, h.users)
	for _, header := range r.Headers {
		if !strings.HasPrefix(header.Key, reservedPrefix) {
			f.Metadata[header.Key] = header.Value
		}
	}
	return nil
}

// checkBounds refuses what is too long; forget clears it, so that what a stranger
// sent is not echoed or kept.
func checkBounds(f *Frame, forget bool) error {
	var err error
	check := func(name string, value *string, limit int) {
		if len(*value) > limit {
			if err == nil {
				err = invalidFrame("header %s has %d bytes, the limit is %d", name, len(*value), limit)
			}
			if forget {
				*value = ""
			}
		}
	}
	check(HeaderID, &f.ID, maxID)
	check(HeaderCaller, &f.Caller, maxName)
	check(HeaderReplyTo, &f.ReplyTo, maxName)
	check(HeaderMethod, &f.Method, maxName)
	check(HeaderServer, &f.Server, maxName)
	check(HeaderIdempotencyKey, &f.IdempotencyKey, maxIdempotency)
	check(HeaderContentType, &f.ContentType, maxContentType)
	return err
}

func invalidFrame(format string, args ...any) *Error {
	return newError(codes.InvalidArgument, fmt.Sprintf(format, args...), nil)
}

// excerpt quotes what came from outside, cut to what a log line can take.
func excerpt(s string) string {
	if len(s) > 40 {
		return strconv.Quote(s[:40]) + "…"
	}
	return strconv.Quote(s)
}
