package frame

import (
	"strconv"
	"time"

	"google.golang.org/grpc/status"
)

// Kind is the purpose of a frame.
type Kind uint8

// The kinds of frame. [HeaderWire] sends their names, as String returns them.
const (
	// KindRequest asks a server to run a method.
	KindRequest Kind = iota + 1
	// KindReply answers a request. If a request arrives again, the server may send its
	// reply again.
	KindReply
	// KindCancel reports that the caller no longer waits for the reply. A server then ends
	// the context of the request's handler, or does not start the handler.
	KindCancel
	// KindMessage carries one message of a stream. It is reserved: servers answer it
	// with codes.Unimplemented.
	KindMessage
	// KindCredit allows the other side of a stream to send more. It is reserved.
	KindCredit
	// KindEnd ends one direction of a stream. It is reserved.
	KindEnd
)

var kindNames = [...]string{
	KindRequest: "request", KindReply: "reply", KindCancel: "cancel",
	KindMessage: "message", KindCredit: "credit", KindEnd: "end",
}

// String returns the name of the kind, or "kind(n)" for an unknown number n.
func (k Kind) String() string {
	if k > 0 && int(k) < len(kindNames) {
		return kindNames[k]
	}
	return "kind(" + strconv.Itoa(int(k)) + ")"
}

func kindOf(name string) (Kind, bool) {
	for k := KindRequest; int(k) < len(kindNames); k++ {
		if kindNames[k] == name {
			return k, true
		}
	}
	return 0, false
}

// AnyServer is the value of Frame.Server in a request that every instance answers.
const AnyServer = "*"

// Frame is one message of the protocol, independent of how a [Wire] encodes it.
type Frame struct {
	Kind Kind
	// ID identifies the call among the calls of its caller. A reply repeats the ID of
	// its request.
	ID string
	// Stream is reserved for streams; 0 means none.
	Stream uint64
	// Method is the method to run.
	Method string
	// Caller is the id of the calling instance. Caller and ID together must be unique, also
	// across restarts. A reply repeats the Caller of its request, so that clients that
	// share a reply topic can skip the replies to others.
	Caller string
	// ReplyTo is the topic for the reply; "" asks for no reply.
	ReplyTo string
	// ReplyPartition is the partition of ReplyTo, or [bus.AnyPartition].
	ReplyPartition int32
	// Topic is the topic that the frame is sent to. A Wire may encode it, and need not
	// set it when it decodes.
	Topic string
	// Key is the key of the record. It orders requests and selects their partition.
	Key string
	// Deadline is the time at which the caller stops waiting; the zero time means never.
	Deadline time.Time
	// Attempt is how many times the caller has sent the request, this time included. A
	// reply repeats the Attempt of the request that it answers.
	Attempt int
	// Server is AnyServer in a request that every instance answers. In a reply to such a
	// request it is the id of the instance that answers. Otherwise it is "".
	Server string
	// IdempotencyKey identifies a request across callers. Of the requests with the same
	// idempotency key, method and topic, a server runs only one, as long as it keeps the
	// reply. "" means none. Only requests have one.
	IdempotencyKey string
	// ContentType names the codec of Body.
	ContentType string
	// Status is the status of a reply; nil means OK. Only replies have one.
	Status *status.Status
	// Metadata is the user's metadata, such as "traceparent". Names are case-sensitive.
	// Names that begin with "trunkline-" are reserved.
	Metadata map[string]string
	// Body is the encoded message. It may alias the payload of the record that the frame
	// was decoded from, and must not be changed.
	Body []byte
}
