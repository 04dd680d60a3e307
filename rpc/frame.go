package rpc

import (
	"strconv"
	"time"

	"google.golang.org/grpc/status"
)

// Kind says what a frame is for.
type Kind uint8

// The kinds of frame. Their String is what [HeaderWire] sends.
const (
	// KindRequest asks for a method to be run.
	KindRequest Kind = iota + 1
	// KindReply answers a request; it is the only one to do so.
	KindReply
	// KindCancel says that the caller does not wait for the answer any more.
	// A server ends the context of its handler then, or does not begin it.
	KindCancel
	// KindMessage carries one message of a stream. Reserved: refused as
	// Unimplemented.
	KindMessage
	// KindCredit allows the other side of a stream to send more. Reserved.
	KindCredit
	// KindEnd ends one direction of a stream. Reserved.
	KindEnd
)

var kindNames = [...]string{
	KindRequest: "request", KindReply: "reply", KindCancel: "cancel",
	KindMessage: "message", KindCredit: "credit", KindEnd: "end",
}

// String returns the kind's name, "kind(n)" for a number that has none.
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

// Metadata is what travels beside a body: names and values chosen by users, such
// as "traceparent". Names are case-sensitive; those that begin with "trunkline-"
// are reserved. A nil Metadata is empty and must not be written to.
type Metadata map[string]string

// AnyPartition, as a frame's ReplyPartition, leaves the choice to the transport.
const AnyPartition int32 = -1

// AnyServer, as a request's Server, asks every instance that reads it for an answer.
const AnyServer = "*"

// Frame is one unit of the protocol, whatever form a [Wire] gives it.
type Frame struct {
	Kind Kind
	// ID tells the calls of a caller apart. A reply carries its request's.
	ID string
	// Stream is reserved for streams; 0 is none.
	Stream uint64
	// Method names what is to be run.
	Method string
	// Caller is the id of the calling instance; Caller and ID together are unique
	// for ever. A reply carries its request's, so that callers who share a reply
	// topic tell theirs from foreign ones.
	Caller string
	// ReplyTo is the topic that replies go to; "" wants none.
	ReplyTo string
	// ReplyPartition is the partition of ReplyTo, or AnyPartition.
	ReplyPartition int32
	// Topic is where the frame is sent. It may be part of what a Wire encodes, and
	// a Wire need not set it when it decodes.
	Topic string
	// Key orders requests and picks their partition; it is the message's own key.
	Key string
	// Deadline is when the caller stops waiting; zero for never.
	Deadline time.Time
	// Attempt is 1 for the first sending of a request. A reply carries that of the
	// request that it answers.
	Attempt int
	// Server is AnyServer in a request that every instance answers which reads it, and
	// in a reply to one the id of the instance that answers; "" otherwise.
	Server string
	// IdempotencyKey makes equal requests one: those with the same key, method and
	// topic are run once while the answer is cached; "" for none. Only requests have one.
	IdempotencyKey string
	// ContentType names the codec of Body.
	ContentType string
	// Status is the answer's, nil for OK. Only replies have one.
	Status *status.Status
	// Metadata is the users'.
	Metadata Metadata
	// Body is the encoded message. Whoever decoded the frame must not change it.
	Body []byte
}
