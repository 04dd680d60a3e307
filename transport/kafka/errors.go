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
		return driver.Unknown
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
		return driver.Unauthenticated
	}
	if isNetwork(err) {
		return driver.Unavailable
	}
	if c := driver.ContextCode(err); c != driver.Unknown {
		return c
	}
	if _, ok := errors.AsType[sarama.ConfigurationError](err); ok {
		return driver.InvalidArgument
	}
	if _, ok := errors.AsType[sarama.PacketEncodingError](err); ok {
		return driver.InvalidArgument
	}
	return driver.Unknown
}

var brokerCodes = []struct {
	err  error
	code driver.Code
}{
	{sarama.ErrSASLAuthenticationFailed, driver.Unauthenticated},
	{sarama.ErrUnsupportedSASLMechanism, driver.Unauthenticated},
	{sarama.ErrIllegalSASLState, driver.Unauthenticated},
	{sarama.ErrTopicAuthorizationFailed, driver.PermissionDenied},
	{sarama.ErrGroupAuthorizationFailed, driver.PermissionDenied},
	{sarama.ErrClusterAuthorizationFailed, driver.PermissionDenied},
	{sarama.ErrTransactionalIDAuthorizationFailed, driver.PermissionDenied},
	{sarama.ErrUnknownTopicOrPartition, driver.NotFound},
	{sarama.ErrTopicAlreadyExists, driver.AlreadyExists},
	{sarama.ErrMessageSizeTooLarge, driver.TooLarge},
	{sarama.ErrMessageSetSizeTooLarge, driver.TooLarge},
	{sarama.ErrOffsetOutOfRange, driver.OutOfRange},
	{sarama.ErrInvalidTopic, driver.InvalidArgument},
	{sarama.ErrInvalidPartitions, driver.InvalidArgument},
	{sarama.ErrInvalidReplicationFactor, driver.InvalidArgument},
	{sarama.ErrInvalidConfig, driver.InvalidArgument},
	{sarama.ErrInvalidSessionTimeout, driver.InvalidArgument},
	{sarama.ErrInvalidGroupId, driver.InvalidArgument},
	{sarama.ErrInconsistentGroupProtocol, driver.InvalidArgument},
	{sarama.ErrInvalidTimestamp, driver.InvalidArgument},
	{sarama.ErrInvalidRecord, driver.InvalidArgument},
	{sarama.ErrPolicyViolation, driver.PermissionDenied},
	{sarama.ErrUnsupportedVersion, driver.Unsupported},
	{sarama.ErrIllegalGeneration, driver.Revoked},
	{sarama.ErrUnknownMemberId, driver.Revoked},
	{sarama.ErrRebalanceInProgress, driver.Revoked},
	{sarama.ErrFencedInstancedId, driver.Revoked},
	{sarama.ErrOffsetMetadataTooLarge, driver.TooLarge},
	{sarama.ErrShuttingDown, driver.Unavailable},
	{sarama.ErrLeaderNotAvailable, driver.Unavailable},
	{sarama.ErrNotLeaderForPartition, driver.Unavailable},
	{sarama.ErrReplicaNotAvailable, driver.Unavailable},
	{sarama.ErrBrokerNotAvailable, driver.Unavailable},
	{sarama.ErrNotEnoughReplicas, driver.Unavailable},
	{sarama.ErrNotEnoughReplicasAfterAppend, driver.Unavailable},
	{sarama.ErrRequestTimedOut, driver.Unavailable},
	{sarama.ErrNetworkException, driver.Unavailable},
	{sarama.ErrKafkaStorageError, driver.Unavailable},
	{sarama.ErrConsumerCoordinatorNotAvailable, driver.Unavailable},
	{sarama.ErrNotCoordinatorForConsumer, driver.Unavailable},
	{sarama.ErrOffsetsLoadInProgress, driver.Unavailable},
	{sarama.ErrControllerNotAvailable, driver.Unavailable},
	{sarama.ErrNotController, driver.Unavailable},
	{sarama.ErrOutOfBrokers, driver.Unavailable},
	{sarama.ErrBrokerNotFound, driver.Unavailable},
	{sarama.ErrNotConnected, driver.Unavailable},
	{sarama.ErrClosedClient, driver.Unavailable},
	{sarama.ErrIncompleteResponse, driver.Unavailable},
	{sarama.ErrInsufficientData, driver.Unavailable},
	{breaker.ErrBreakerOpen, driver.Unavailable},
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
	case driver.InvalidArgument, driver.TooLarge, driver.PermissionDenied, driver.Unauthenticated, driver.NotFound, driver.Unsupported:
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
	return &driver.Error{Code: driver.Closed, Op: op, Transport: transportName, Topic: topic, Reason: "the transport is closed"}
}
