package bus

import (
	"time"

	"github.com/trunkline/trunkline/bus/driver"
)

// What a transport and its users both speak of is defined once, in package driver.
type (
	// Error is what every operation fails with; decide by its Code.
	Error = driver.Error
	// Code says what kind of error it is.
	Code = driver.Code
	// Capabilities says what a transport can do.
	Capabilities = driver.Capabilities
	// Record says where a message stands in the log.
	Record = driver.Record
	// Header is one name and value of a record.
	Header = driver.Header
	// Outcome is what became of one published message.
	Outcome = driver.Outcome
	// Start says where reading begins.
	Start = driver.Start
	// TopicSpec describes a topic that is to be made.
	TopicSpec = driver.TopicSpec
	// TopicInfo describes a topic that exists.
	TopicInfo = driver.TopicInfo
	// Connection is the state of the connection to the broker.
	Connection = driver.Connection
)

// The error codes; their comments are at [driver.Code].
const (
	CodeUnknown           = driver.CodeUnknown
	CodeInvalidArgument   = driver.CodeInvalidArgument
	CodeNotFound          = driver.CodeNotFound
	CodeAlreadyExists     = driver.CodeAlreadyExists
	CodeUnsupported       = driver.CodeUnsupported
	CodeTooLarge          = driver.CodeTooLarge
	CodeClosed            = driver.CodeClosed
	CodeUnavailable       = driver.CodeUnavailable
	CodeDeadlineExceeded  = driver.CodeDeadlineExceeded
	CodeCanceled          = driver.CodeCanceled
	CodeOutcomeUnknown    = driver.CodeOutcomeUnknown
	CodeUnauthenticated   = driver.CodeUnauthenticated
	CodePermissionDenied  = driver.CodePermissionDenied
	CodeUndecodable       = driver.CodeUndecodable
	CodeRevoked           = driver.CodeRevoked
	CodeResourceExhausted = driver.CodeResourceExhausted
	CodeOutOfRange        = driver.CodeOutOfRange
	CodeInternal          = driver.CodeInternal
)

// The states of a connection.
const (
	Connecting   = driver.Connecting
	Connected    = driver.Connected
	Disconnected = driver.Disconnected
	Refused      = driver.Refused
)

// AnyPartition leaves the choice of a record's partition to the transport.
const AnyPartition = driver.AnyPartition

// CodeOf returns the code of the first *Error in err's chain; see [driver.CodeOf].
func CodeOf(err error) Code { return driver.CodeOf(err) }

// Oldest starts at the oldest record that is still there.
func Oldest() Start { return Start{Kind: driver.StartOldest} }

// Newest starts after the last record at the time the subscription gets ready.
func Newest() Start { return Start{Kind: driver.StartNewest} }

// AtOffset starts at this offset of each partition.
func AtOffset(offset int64) Start { return Start{Kind: driver.StartAtOffset, Offset: offset} }

// AtTime starts at the first record of each partition that is not older than t.
func AtTime(t time.Time) Start { return Start{Kind: driver.StartAtTime, Time: t} }
