package kafka

import (
	"errors"
	"io"
	"net"
	"syscall"
	"testing"

	"github.com/IBM/sarama"
	"github.com/stretchr/testify/require"

	"github.com/trunkline/trunkline/bus/driver"
)

func TestErrorTextIsOneLine(t *testing.T) {
	t.Parallel()
	dial := &net.OpError{Op: "dial", Err: syscall.ECONNREFUSED}
	for _, cause := range []error{
		errors.Join(dial, io.EOF, dial),
		sarama.Wrap(sarama.ErrOutOfBrokers, dial, io.ErrUnexpectedEOF),
		errors.Join(errors.Join(dial, dial), io.EOF),
	} {
		err := fail("connect", "", cause)
		require.NotContains(t, err.Error(), "\n")
		require.ErrorIs(t, err, syscall.ECONNREFUSED)
		require.Equal(t, driver.CodeUnavailable, driver.CodeOf(err))
	}
	require.Equal(t, "kafka: publish: EOF (unavailable)", fail("publish", "", io.EOF).Error())
}
