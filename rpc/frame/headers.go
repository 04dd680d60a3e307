package frame

import "github.com/trunkline/trunkline/bus"

// Wire encodes frames as records, and decodes them. Implementations must be safe for
// concurrent use.
type Wire interface {
	// Encode writes f into r: UUID, Key, Headers and Payload. The caller sets topic and
	// partition afterwards. r is empty when Encode is called, but its Key and Headers may
	// have capacity to append to. After the call, r may alias f.Body, but no other memory
	// of f. The caller changes neither r nor f.Body before r has been published. Then the
	// caller clears r and reuses it.
	Encode(f *Frame, r *bus.Record) error
	// Decode reads r into f. f is zero when Decode is called. After the call, f may alias
	// the payload of r. Decode must set ReplyPartition and Attempt, whose defaults
	// (bus.AnyPartition and 1) are not zero. r may have any content: Decode must not panic,
	// and must return an error for values that are too large. If it fails, it must set the
	// fields of f that it could read, so that a server can answer with the error. If the
	// error has a gRPC status (see package status), the answer has its code; the default is
	// codes.InvalidArgument. Decode must not change r, and must not keep a reference to it.
	Decode(r *bus.Record, f *Frame) error
}

// HeaderWire is the default [Wire]. The payload of a record is the body of the frame, and
// everything else is in headers. The user's metadata keeps its names. The zero value is
// ready to use.
type HeaderWire struct{}

// The headers of [HeaderWire]. docs/wire.md specifies them.
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

// The bounds of texts in a frame, in bytes.
const (
	// MaxName bounds method, caller, reply topic and server.
	MaxName = 255
	// MaxIdempotencyKey bounds an idempotency key.
	MaxIdempotencyKey = 128
	// MaxContentType bounds a content type.
	MaxContentType = 128

	maxID       = 128
	maxMessage  = 16 << 10
	maxDetails  = 64 << 10 // as base64
	maxMetadata = 64 << 10 // names and values together
	maxEntries  = 128      // of metadata
)

const (
	reservedPrefix = "trunkline-"
	wireVersion    = "1"
)
