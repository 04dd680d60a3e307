package frame

import (
	"encoding/base64"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	spb "google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/trunkline/trunkline/bus"
)

// maxTime is the latest time that an int64 of nanoseconds since 1970 can represent. Encode
// omits a later deadline.
var maxTime = time.Unix(0, math.MaxInt64)

// frameHeaders are the values of HeaderFrame by kind. Building them once saves an
// allocation for each frame.
var frameHeaders = func() (h [len(kindNames)]string) {
	for k := KindRequest; int(k) < len(kindNames); k++ {
		h[k] = wireVersion + " " + kindNames[k]
	}
	return h
}()

// Encode implements [Wire]. It returns an error with codes.InvalidArgument if a part of the
// frame is too large, or if a metadata name is reserved. It truncates a status message that
// is longer than 16 KiB.
func (HeaderWire) Encode(f *Frame, r *bus.Record) error {
	if f.Kind == 0 || int(f.Kind) >= len(frameHeaders) {
		return invalid("the kind of the frame is %s, which does not exist", f.Kind)
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
	if !f.Deadline.IsZero() && !f.Deadline.After(maxTime) {
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
			return invalid("metadata %q: names that begin with %q are reserved", k, reservedPrefix)
		}
		size += len(k) + len(v)
		h = append(h, bus.Header{Key: k, Value: v})
	}
	if size > maxMetadata || len(f.Metadata) > maxEntries {
		return invalid("the metadata has %d entries with %d bytes: the limits are %d and %d", len(f.Metadata), size, maxEntries, maxMetadata)
	}
	r.Headers, r.Payload = h, f.Body
	if f.Key != "" && f.Kind != KindReply { // a reply's partition comes from its request
		r.Key = append(r.Key, f.Key...)
	}
	return nil
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
		return nil, invalid("the status details cannot be encoded: %v", err)
	}
	text := base64.StdEncoding.EncodeToString(raw)
	if len(text) > maxDetails {
		return nil, invalid("the status details have %d bytes in base64: the limit is %d", len(text), maxDetails)
	}
	return append(h, bus.Header{Key: HeaderDetails, Value: text}), nil
}

// checkBounds returns an error if a text of f is too long. If clear is true, it also
// empties such a text, so that a server does not send it back or keep it.
func checkBounds(f *Frame, clear bool) error {
	var err error
	check := func(name string, value *string, limit int) {
		if len(*value) > limit {
			if err == nil {
				err = invalid("header %s has %d bytes: the limit is %d", name, len(*value), limit)
			}
			if clear {
				*value = ""
			}
		}
	}
	check(HeaderID, &f.ID, maxID)
	check(HeaderCaller, &f.Caller, MaxName)
	check(HeaderReplyTo, &f.ReplyTo, MaxName)
	check(HeaderMethod, &f.Method, MaxName)
	check(HeaderServer, &f.Server, MaxName)
	check(HeaderIdempotencyKey, &f.IdempotencyKey, MaxIdempotencyKey)
	check(HeaderContentType, &f.ContentType, MaxContentType)
	return err
}

// wireError is an error of HeaderWire. The caller of Encode or Decode adds the operation.
type wireError struct {
	code   codes.Code
	reason string
}

func (e *wireError) Error() string { return "rpc frame: " + e.reason }

// GRPCStatus implements the interface that package status looks for.
func (e *wireError) GRPCStatus() *status.Status { return status.New(e.code, e.reason) }

func invalid(format string, args ...any) error {
	return &wireError{codes.InvalidArgument, fmt.Sprintf(format, args...)}
}

func unimplemented(format string, args ...any) error {
	return &wireError{codes.Unimplemented, fmt.Sprintf(format, args...)}
}
