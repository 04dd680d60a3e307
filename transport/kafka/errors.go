package kafka

import (
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"syscall"

	"github.com/IBM/sarama"
	"github.com/eapache/go-resiliency/breaker"

	"github.com/trunkline/trunkline/bus/driver"
)

// transportName is the name of the transport in capabilities and errors.
const transportName = "kafka"

// fail returns the error of an operation, with the code of err. If err is a *driver.Error,
// fail returns that.
func fail(op, topic string, err error) error {
	return failCode(codeOf(err), op, topic, "", err)
}

// failCode returns the error of an operation with this code and reason. If err is a
// *driver.Error and reason is "", failCode returns err.
func failCode(code driver.Code, op, topic, reason string, err error) error {
	if e, ok := errors.AsType[*driver.Error](err); ok && reason == "" {
		return e
	}
	return &driver.Error{Code: code, Op: op, Transport: transportName, Topic: topic, Reason: reason, Err: onOneLine(err)}
}

// codeOf classifies an error of sarama, the network or a context. The error of a broker
// takes precedence over one of the network, because sarama wraps one in the other.
func codeOf(err error) driver.Code {
	if err == nil {
		return driver.CodeUnknown
	}
	if e, ok := errors.AsType[*driver.Error](err); ok {
		return e.Code
	}
	for _, c := range brokerCodes {
		if errors.Is(err, c.err) {
			return c.code
		}
	}
	if isTLSRejection(err) {
		return driver.CodeUnauthenticated
	}
	if isNetworkError(err) {
		return driver.CodeUnavailable
	}
	if c := driver.ContextCode(err); c != driver.CodeUnknown {
		return c
	}
	if _, ok := errors.AsType[sarama.ConfigurationError](err); ok {
		return driver.CodeInvalidArgument
	}
	if _, ok := errors.AsType[sarama.PacketEncodingError](err); ok {
		return driver.CodeInvalidArgument
	}
	return driver.CodeUnknown
}

var brokerCodes = []struct {
	err  error
	code driver.Code
}{
	{sarama.ErrSASLAuthenticationFailed, driver.CodeUnauthenticated},
	{sarama.ErrUnsupportedSASLMechanism, driver.CodeUnauthenticated},
	{sarama.ErrIllegalSASLState, driver.CodeUnauthenticated},
	{sarama.ErrTopicAuthorizationFailed, driver.CodePermissionDenied},
	{sarama.ErrGroupAuthorizationFailed, driver.CodePermissionDenied},
	{sarama.ErrClusterAuthorizationFailed, driver.CodePermissionDenied},
	{sarama.ErrTransactionalIDAuthorizationFailed, driver.CodePermissionDenied},
	{sarama.ErrUnknownTopicOrPartition, driver.CodeNotFound},
	{sarama.ErrTopicAlreadyExists, driver.CodeAlreadyExists},
	{sarama.ErrMessageSizeTooLarge, driver.CodeTooLarge},
	{sarama.ErrMessageSetSizeTooLarge, driver.CodeTooLarge},
	{sarama.ErrOffsetOutOfRange, driver.CodeOutOfRange},
	{sarama.ErrInvalidTopic, driver.CodeInvalidArgument},
	{sarama.ErrInvalidPartitions, driver.CodeInvalidArgument},
	{sarama.ErrInvalidReplicationFactor, driver.CodeInvalidArgument},
	{sarama.ErrInvalidConfig, driver.CodeInvalidArgument},
	{sarama.ErrInvalidSessionTimeout, driver.CodeInvalidArgument},
	{sarama.ErrInvalidGroupId, driver.CodeInvalidArgument},
	{sarama.ErrInconsistentGroupProtocol, driver.CodeInvalidArgument},
	{sarama.ErrInvalidTimestamp, driver.CodeInvalidArgument},
	{sarama.ErrInvalidRecord, driver.CodeInvalidArgument},
	{sarama.ErrPolicyViolation, driver.CodePermissionDenied},
	{sarama.ErrUnsupportedVersion, driver.CodeUnsupported},
	{sarama.ErrIllegalGeneration, driver.CodeRevoked},
	{sarama.ErrUnknownMemberId, driver.CodeRevoked},
	{sarama.ErrRebalanceInProgress, driver.CodeRevoked},
	{sarama.ErrFencedInstancedId, driver.CodeRevoked},
	{sarama.ErrOffsetMetadataTooLarge, driver.CodeTooLarge},
	{sarama.ErrShuttingDown, driver.CodeUnavailable},
	{sarama.ErrLeaderNotAvailable, driver.CodeUnavailable},
	{sarama.ErrNotLeaderForPartition, driver.CodeUnavailable},
	{sarama.ErrReplicaNotAvailable, driver.CodeUnavailable},
	{sarama.ErrBrokerNotAvailable, driver.CodeUnavailable},
	{sarama.ErrNotEnoughReplicas, driver.CodeUnavailable},
	{sarama.ErrNotEnoughReplicasAfterAppend, driver.CodeUnavailable},
	{sarama.ErrRequestTimedOut, driver.CodeUnavailable},
	{sarama.ErrNetworkException, driver.CodeUnavailable},
	{sarama.ErrKafkaStorageError, driver.CodeUnavailable},
	{sarama.ErrConsumerCoordinatorNotAvailable, driver.CodeUnavailable},
	{sarama.ErrNotCoordinatorForConsumer, driver.CodeUnavailable},
	{sarama.ErrOffsetsLoadInProgress, driver.CodeUnavailable},
	{sarama.ErrControllerNotAvailable, driver.CodeUnavailable},
	{sarama.ErrNotController, driver.CodeUnavailable},
	{sarama.ErrOutOfBrokers, driver.CodeUnavailable},
	{sarama.ErrBrokerNotFound, driver.CodeUnavailable},
	{sarama.ErrNotConnected, driver.CodeUnavailable},
	{sarama.ErrClosedClient, driver.CodeUnavailable},
	{sarama.ErrIncompleteResponse, driver.CodeUnavailable},
	{sarama.ErrInsufficientData, driver.CodeUnavailable},
	{breaker.ErrBreakerOpen, driver.CodeUnavailable},
}

// isNetworkError reports whether err comes from a connection, not from a broker's answer. It
// looks for *net.OpError, because the error of an expired context is a net.Error too.
func isNetworkError(err error) bool {
	if _, ok := errors.AsType[*net.OpError](err); ok {
		return true
	}
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, net.ErrClosed) ||
		errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.ECONNREFUSED) || errors.Is(err, syscall.EPIPE)
}

// neverSent reports whether sarama failed a message before it made a request with it. These
// errors occur when sarama looks up the topic, the partition or its leader.
func neverSent(err error) bool {
	return errors.Is(err, sarama.ErrOutOfBrokers) || errors.Is(err, breaker.ErrBreakerOpen) ||
		errors.Is(err, errNoSuchPartition)
}

// isRejection reports whether code means that the broker rejected this message, and that no
// earlier attempt has stored it: sarama does not retry after these errors.
func isRejection(code driver.Code) bool {
	switch code {
	case driver.CodeInvalidArgument, driver.CodeTooLarge, driver.CodePermissionDenied, driver.CodeUnauthenticated, driver.CodeNotFound, driver.CodeUnsupported:
		return true
	default:
		return false
	}
}

// canceled returns the error of an operation whose context ended before it had an effect.
func canceled(ctx context.Context, op, topic, reason string) error {
	return failCode(driver.ContextCode(context.Cause(ctx)), op, topic, reason, ctx.Err())
}

func closedError(op, topic string) error {
	return &driver.Error{Code: driver.CodeClosed, Op: op, Transport: transportName, Topic: topic, Reason: "the transport is closed"}
}

// singleLineError is an error whose text has no line breaks. sarama joins the errors of
// several brokers with line breaks.
type singleLineError struct{ error }

func (e singleLineError) Error() string {
	return strings.Join(strings.FieldsFunc(e.error.Error(), func(r rune) bool { return r == '\n' || r == '\r' }), "; ")
}

func (e singleLineError) Unwrap() error { return e.error }

// onOneLine wraps err if its text has line breaks.
func onOneLine(err error) error {
	if err == nil || !strings.ContainsAny(err.Error(), "\r\n") {
		return err
	}
	return singleLineError{err}
}
