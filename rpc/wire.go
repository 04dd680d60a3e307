package rpc

import (
	"encoding/base64"
	"fmt"
	"maps"
	"strconv"
	"strings"
	"time"

	spb "google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/trunkline/trunkline/bus"
)

// Wire is the form frames have as messages. It is used by many goroutines at once.
type Wire interface {
	// Encode makes a message of f. The message refers to f.Body and to nothing else
	// of f; neither is changed until the message has been published.
	Encode(f *Frame) (*message.Message, error)
	// Decode reads m into f, which is zero before and refers to m's payload
	// afterwards. ReplyPartition and Attempt have defaults that are not zero. m is not
	// to be trusted: whatever is in it, Decode returns, and bounds what it accepts. When it
	// fails f holds what could be read before, so that the other side can be told.
	// An error with a status (an *Error) says which code to tell it by; the default
	// is InvalidArgument. Decode must not change m.
	Decode(m *message.Message, f *Frame) error
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

// HeaderWire is the default [Wire]: what the protocol needs is in message headers,
// the payload is the body, and user metadata are headers under their own names.
// The message's UUID is the frame's ID. The zero value is ready to use.
type HeaderWire struct{}

// Encode implements [Wire]. A part that is too long, or metadata under a reserved
// name, is an InvalidArgument error; status messages are cut instead, at 16 KiB.
func (HeaderWire) Encode(f *Frame) (*message.Message, error) {
	if f.Kind == 0 || int(f.Kind) >= len(frameHeaders) {
		return nil, invalidFrame("the frame's kind is %s", f.Kind)
	}
	if err := checkBounds(f, false); err != nil {
		return nil, err
	}
	// Nobody acknowledges what is only published, so it needs no channels for that.
	m := &message.Message{UUID: f.ID, Payload: f.Body, Metadata: make(message.Metadata, 8)}
	h := m.Metadata
	size := 0
	for k, v := range f.Metadata {
		if strings.HasPrefix(k, reservedPrefix) {
			return nil, invalidFrame("metadata %q: names that begin with %q are reserved", k, reservedPrefix)
		}
		size += len(k) + len(v)
		h[k] = v
	}
	if size > maxMetadata || len(f.Metadata) > maxEntries {
		return nil, invalidFrame("%d entries of metadata with %d bytes: the limits are %d and %d", len(f.Metadata), size, maxEntries, maxMetadata)
	}
	h[HeaderFrame] = frameHeaders[f.Kind]
	h[HeaderID] = f.ID
	put := func(name, value string) {
		if value != "" {
			h[name] = value
		}
	}
	put(HeaderMethod, f.Method)
	put(HeaderCaller, f.Caller)
	put(HeaderReplyTo, f.ReplyTo)
	put(HeaderServer, f.Server)
	put(HeaderIdempotencyKey, f.IdempotencyKey)
	put(HeaderContentType, f.ContentType)
	if f.Stream != 0 {
		h[HeaderStream] = strconv.FormatUint(f.Stream, 10)
	}
	if f.ReplyTo != "" && f.ReplyPartition >= 0 {
		h[HeaderReplyPartition] = strconv.Itoa(int(f.ReplyPartition))
	}
	if !f.Deadline.IsZero() && f.Deadline.Before(endOfTime) {
		h[HeaderDeadline] = strconv.FormatInt(f.Deadline.UnixNano(), 10)
	}
	if f.Attempt > 1 {
		h[HeaderAttempt] = strconv.Itoa(f.Attempt)
	}
	if err := encodeStatus(h, f.Status); err != nil {
		return nil, err
	}
	if f.Key != "" && f.Kind != KindReply {
		bus.SetKey(m, f.Key) // of a reply the topic decides everything
	}
	return m, nil
}

func encodeStatus(h message.Metadata, st *status.Status) error {
	if st.Code() == codes.OK {
		return nil
	}
	h[HeaderStatus] = strconv.Itoa(int(st.Code()))
	if text := st.Message(); text != "" {
		h[HeaderMessage] = strings.ToValidUTF8(text[:min(len(text), maxMessage)], "")
	}
	p := st.Proto()
	if len(p.GetDetails()) == 0 {
		return nil
	}
	raw, err := proto.Marshal(&spb.Status{Details: p.GetDetails()})
	if err != nil {
		return invalidFrame("the status details can't be encoded: %v", err)
	}
	text := base64.StdEncoding.EncodeToString(raw)
	if len(text) > maxDetails {
		return invalidFrame("the status details have %d bytes in base64, the limit is %d", len(text), maxDetails)
	}
	h[HeaderDetails] = text
	return nil
}

// Decode implements [Wire]. A version that is not spoken here is an Unimplemented
// error, anything else that is wrong an InvalidArgument.
func (HeaderWire) Decode(m *message.Message, f *Frame) error {
	f.reset()
	f.Body = m.Payload
	h := m.Metadata
	f.ID, f.Caller, f.ReplyTo = h[HeaderID], h[HeaderCaller], h[HeaderReplyTo]
	f.Method, f.ContentType = h[HeaderMethod], h[HeaderContentType]
	f.Server, f.IdempotencyKey = h[HeaderServer], h[HeaderIdempotencyKey]
	f.Key = bus.Key(m)
	if err := checkBounds(f, true); err != nil {
		return err
	}
	version, kind, ok := strings.Cut(h[HeaderFrame], " ")
	switch {
	case !ok:
		return invalidFrame("header %s is %s: it is not a request or reply of this protocol", HeaderFrame, excerpt(h[HeaderFrame]))
	case version != wireVersion:
		return newError(codes.Unimplemented, fmt.Sprintf("version %s of the protocol is not spoken here, only %s", excerpt(version), wireVersion), nil)
	}
	if f.Kind, ok = kindOf(kind); !ok {
		return newError(codes.Unimplemented, fmt.Sprintf("frames of kind %s are not known here", excerpt(kind)), nil)
	}
	if err := decodeNumbers(h, f); err != nil {
		return err
	}
	if f.ID == "" {
		return invalidFrame("header %s is missing", HeaderID)
	}
	if f.Kind == KindReply {
		if err := decodeStatus(h, f); err != nil {
			return err
		}
	}
	return decodeMetadata(h, f)
}

func decodeNumbers(h message.Metadata, f *Frame) error {
	if s, ok := h[HeaderReplyPartition]; ok {
		n, err := strconv.ParseInt(s, 10, 32)
		if err != nil || n < 0 {
			return invalidFrame("header %s is %s, not a partition", HeaderReplyPartition, excerpt(s))
		}
		f.ReplyPartition = int32(n)
	}
	if s, ok := h[HeaderDeadline]; ok {
		n, err := strconv.ParseInt(s, 10, 64)
		if err != nil || n < 0 {
			return invalidFrame("header %s is %s, not nanoseconds since 1970", HeaderDeadline, excerpt(s))
		}
		f.Deadline = time.Unix(0, n)
	}
	if s, ok := h[HeaderAttempt]; ok {
		n, err := strconv.ParseInt(s, 10, 32)
		if err != nil || n < 1 {
			return invalidFrame("header %s is %s, not a number from 1", HeaderAttempt, excerpt(s))
		}
		f.Attempt = int(n)
	}
	if s, ok := h[HeaderStream]; ok {
		n, err := strconv.ParseUint(s, 10, 64)
		if err != nil {
			return invalidFrame("header %s is %s, not a number", HeaderStream, excerpt(s))
		}
		f.Stream = n
	}
	return nil
}

func decodeStatus(h message.Metadata, f *Frame) error {
	s, ok := h[HeaderStatus]
	if !ok {
		return nil
	}
	code, err := strconv.ParseUint(s, 10, 8)
	if err != nil {
		return invalidFrame("header %s is %s, not a status code", HeaderStatus, excerpt(s))
	}
	if code == 0 {
		return nil
	}
	text, details := h[HeaderMessage], h[HeaderDetails]
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

// decodeMetadata copies what is not the protocol's.
func decodeMetadata(h message.Metadata, f *Frame) error {
	users, size := 0, 0
	for k, v := range h {
		if !strings.HasPrefix(k, reservedPrefix) {
			users++
			size += len(k) + len(v)
		}
	}
	if users == 0 {
		return nil
	}
	if users > maxEntries || size > maxMetadata {
		return invalidFrame("%d entries of metadata with %d bytes: the limits are %d and %d", users, size, maxEntries, maxMetadata)
	}
	if users == len(h) {
		f.Metadata = Metadata(maps.Clone(h))
		return nil
	}
	f.Metadata = make(Metadata, users)
	for k, v := range h {
		if !strings.HasPrefix(k, reservedPrefix) {
			f.Metadata[k] = v
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
