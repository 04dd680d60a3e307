package frame

import (
	"encoding/base64"
	"strconv"
	"strings"
	"time"

	spb "google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/trunkline/trunkline/bus"
	"github.com/trunkline/trunkline/rpc/internal/excerpt"
)

// Decode implements [Wire]. It returns an error with codes.Unimplemented for an unknown
// version or kind, and with codes.InvalidArgument for anything else that is wrong.
func (HeaderWire) Decode(r *bus.Record, f *Frame) error {
	f.ReplyPartition, f.Attempt = bus.AnyPartition, 1
	f.Body, f.Key = r.Payload, string(r.Key)
	var h headers
	h.read(r, f)
	if err := checkBounds(f, true); err != nil {
		return err
	}
	version, kind, ok := strings.Cut(h.frame, " ")
	switch {
	case !ok:
		return invalid("header %s is %s: the message is not a frame of this protocol", HeaderFrame, excerpt.Of(h.frame))
	case version != wireVersion:
		return unimplemented("protocol version %s is not supported: use %s", excerpt.Of(version), wireVersion)
	}
	if f.Kind, ok = kindOf(kind); !ok {
		return unimplemented("frames of kind %s are not supported", excerpt.Of(kind))
	}
	if err := h.numbers(f); err != nil {
		return err
	}
	if f.ID == "" {
		return invalid("header %s is missing", HeaderID)
	}
	if f.Kind == KindReply {
		if err := h.replyStatus(f); err != nil {
			return err
		}
	}
	return h.metadata(r, f)
}

// headers has the protocol headers that must be parsed, and the number and size of the
// user's headers.
type headers struct {
	frame, replyPartition, deadline, attempt, stream, status, message, details string
	users, userBytes                                                           int
}

// read copies the protocol headers into f and h, and counts the user's headers. If a name
// occurs twice, the last value counts.
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

func (h *headers) numbers(f *Frame) error {
	if s := h.replyPartition; s != "" {
		n, err := strconv.ParseInt(s, 10, 32)
		if err != nil || n < 0 {
			return invalid("header %s is %s: want a partition number", HeaderReplyPartition, excerpt.Of(s))
		}
		f.ReplyPartition = int32(n)
	}
	if s := h.deadline; s != "" {
		n, err := strconv.ParseInt(s, 10, 64)
		if err != nil || n < 0 {
			return invalid("header %s is %s: want nanoseconds since 1970", HeaderDeadline, excerpt.Of(s))
		}
		f.Deadline = time.Unix(0, n)
	}
	if s := h.attempt; s != "" {
		n, err := strconv.ParseInt(s, 10, 32)
		if err != nil || n < 1 {
			return invalid("header %s is %s: want a number of at least 1", HeaderAttempt, excerpt.Of(s))
		}
		f.Attempt = int(n)
	}
	if s := h.stream; s != "" {
		n, err := strconv.ParseUint(s, 10, 64)
		if err != nil {
			return invalid("header %s is %s: want a number", HeaderStream, excerpt.Of(s))
		}
		f.Stream = n
	}
	return nil
}

// replyStatus decodes the status of a reply. From the Status in the details header it uses
// only the details, because code and message have their own headers.
func (h *headers) replyStatus(f *Frame) error {
	s := h.status
	if s == "" {
		return nil
	}
	code, err := strconv.ParseUint(s, 10, 8)
	if err != nil {
		return invalid("header %s is %s: want a status code", HeaderStatus, excerpt.Of(s))
	}
	if code == 0 {
		return nil
	}
	text, details := h.message, h.details
	if len(text) > maxMessage || len(details) > maxDetails {
		return invalid("headers %s and %s have %d and %d bytes: the limits are %d and %d",
			HeaderMessage, HeaderDetails, len(text), len(details), maxMessage, maxDetails)
	}
	var carrier spb.Status
	if details != "" {
		raw, err := base64.StdEncoding.DecodeString(details)
		if err == nil {
			err = proto.Unmarshal(raw, &carrier)
		}
		if err != nil {
			return invalid("header %s cannot be decoded: %v", HeaderDetails, err)
		}
	}
	f.Status = status.FromProto(&spb.Status{Code: int32(code), Message: strings.ToValidUTF8(text, "\uFFFD"), Details: carrier.GetDetails()})
	return nil
}

// metadata copies the user's headers.
func (h *headers) metadata(r *bus.Record, f *Frame) error {
	if h.users == 0 {
		return nil
	}
	if h.users > maxEntries || h.userBytes > maxMetadata {
		return invalid("the metadata has %d entries with %d bytes: the limits are %d and %d", h.users, h.userBytes, maxEntries, maxMetadata)
	}
	f.Metadata = make(map[string]string, h.users)
	for _, header := range r.Headers {
		if !strings.HasPrefix(header.Key, reservedPrefix) {
			f.Metadata[header.Key] = header.Value
		}
	}
	return nil
}
