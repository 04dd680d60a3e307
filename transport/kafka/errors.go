package kafka

import (
	"context"
	"errors"
	"io"
	"net"
	"syscall"

	"github.com/IBM/sarama"
	"github.com/eapache/go-resiliency/breaker"

	"github.com/trunkline/trunkline/bus/driver"
)

// transportName is what the transport calls itself in capabilities and errors.
const transportName = "kafka"

// fail makes the error of an operation. An err that is a *driver.Error already is
// returned as it is.
func fail(op, topic string, err error) error {
	return failCode(codeOf(err), op, topic, "", err)
}

// failCode is fail with a code and a reason of the caller's choice.
func failCode(code driver.Code, op, topic, reason string, err error) error {
	if e, ok := errors.AsType[*driver.Error](err); ok && reason == "" {
		return e
	}
	return &driver.Error{Code: code, Op: op, Transport: transportName, Topic: topic, Reason: reason, Err: onOneLine(err)}
}

// codeOf classifies what sarama, the network or a context reported. What a broker
// said comes before what the network did: sarama wraps the one in the other.
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
	if isUntrusted(err) {
		return driver.CodeUnauthenticated
	}
	if isNetwork(err) {
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

// isNetwork says that err comes from a connection rather than from a broker's answer.
// It looks for *net.OpError and not for net.Error, which a context's deadline is too.
func isNetwork(err error) bool {
	if _, ok := errors.AsType[*net.OpError](err); ok {
		return true
	}
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, net.ErrClosed) ||
		errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.ECONNREFUSED) || errors.Is(err, syscall.EPIPE)
}

// neverSent says that sarama gave a message back before a request with it was made:
// these errors come from finding the topic, the partition or its leader.
func neverSent(err error) bool {
	return errors.Is(err, sarama.ErrOutOfBrokers) || errors.Is(err, breaker.ErrBreakerOpen) ||
		errors.Is(err, errNoSuchPartition)
}

// rejected says that the broker answered for this message, and that the answer rules
// out that an earlier attempt was taken: sarama does not retry these.
func rejected(code driver.Code) bool {
	switch code {
	case driver.CodeInvalidArgument, driver.CodeTooLarge, driver.CodePermissionDenied, driver.CodeUnauthenticated, driver.CodeNotFound, driver.CodeUnsupported:
		return true
	default:
		return false
	}
}

// canceled is the error of a message whose context ended before it was handed over.
func canceled(ctx context.Context, op, topic string) error {
	return failCode(driver.ContextCode(context.Cause(ctx)), op, topic, "the wait ended before the message was sent", ctx.Err())
}

func closedError(op, topic string) error {
	return &driver.Error{Code: driver.CodeClosed, Op: op, Transport: transportName, Topic: topic, Reason: "the transport is closed"}
}
