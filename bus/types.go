package bus

import "github.com/trunkline/trunkline/bus/driver"

// Package driver defines these types, because transports use them, too.
type (
	// Error is the error of every operation. Programs should decide by its Code, not by its text.
	Error = driver.Error
	// Code is the kind of an error.
	Code = driver.Code
	// Capabilities reports what a transport supports.
	Capabilities = driver.Capabilities
	// Record is a message and its place in the log.
	Record = driver.Record
	// Header is one name and value of a record.
	Header = driver.Header
	// Outcome is the result of publishing one message.
	Outcome = driver.Outcome
	// TopicSpec describes a topic to create.
	TopicSpec = driver.TopicSpec
	// TopicInfo describes a topic that exists.
	TopicInfo = driver.TopicInfo
)

// The error codes. Package driver documents each one at [driver.Code].
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

// AnyPartition means that the transport chooses the partition of a record: by its key, or any
// partition if the record has no key.
const AnyPartition = driver.AnyPartition

// CodeOf returns the code of the first *Error in err's chain; see [driver.CodeOf].
func CodeOf(err error) Code { return driver.CodeOf(err) }
