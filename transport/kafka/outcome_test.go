package kafka

import (
	"errors"
	"io"
	"testing"

	"github.com/IBM/sarama"
	"github.com/eapache/go-resiliency/breaker"
	"github.com/stretchr/testify/require"

	"github.com/trunkline/trunkline/bus/driver"
)

// The outcome may only be Unavailable if no request can have carried the message.
func TestOutcomeOfAFailedMessage(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		err          error
		noConnection bool // when sarama got the message
		opened       int64
		want         driver.Code
	}{
		"connection lost":                      {err: io.EOF, want: driver.CodeOutcomeUnknown},
		"too few replicas":                     {err: sarama.ErrNotEnoughReplicas, want: driver.CodeOutcomeUnknown},
		"too few replicas after append":        {err: sarama.ErrNotEnoughReplicasAfterAppend, want: driver.CodeOutcomeUnknown},
		"unknown error":                        {err: errors.New("unknown"), want: driver.CodeOutcomeUnknown},
		"never connected":                      {err: io.EOF, noConnection: true, want: driver.CodeUnavailable},
		"connected later":                      {err: io.EOF, noConnection: true, opened: 1, want: driver.CodeOutcomeUnknown},
		"no broker reachable":                  {err: sarama.ErrOutOfBrokers, want: driver.CodeUnavailable},
		"no broker reachable, connected later": {err: sarama.ErrOutOfBrokers, noConnection: true, opened: 1, want: driver.CodeUnavailable},
		"circuit breaker":                      {err: breaker.ErrBreakerOpen, want: driver.CodeUnavailable},
		"wrong partition":                      {err: errNoSuchPartition, want: driver.CodeInvalidArgument},
		"unknown topic":                        {err: sarama.ErrUnknownTopicOrPartition, want: driver.CodeNotFound},
		"too large":                            {err: sarama.ErrMessageSizeTooLarge, want: driver.CodeTooLarge},
		"no permission":                        {err: sarama.ErrTopicAuthorizationFailed, want: driver.CodePermissionDenied},
		"invalid record":                       {err: sarama.ErrInvalidRecord, want: driver.CodeInvalidArgument},
	} {
		n := newNetwork(defaults(), &traffic{})
		n.opened.Store(c.opened)
		m := &pendingMessage{
			out: &driver.Outgoing{Topic: "topic"}, via: &asyncProducer{client: &client{net: n}}, noConnection: c.noConnection,
		}
		err := m.outcomeError(c.err, codeOf(c.err))
		require.Equal(t, c.want, driver.CodeOf(err), "%s: %v", name, err)
		require.ErrorIs(t, err, c.err, name)
		n.close()
	}
}
