package memory_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/trunkline/trunkline/bus"
	"github.com/trunkline/trunkline/transport/memory"
)

func TestProviderClosesTransportOnCleanup(t *testing.T) {
	t.Parallel()
	log, err := memory.NewLog()
	require.NoError(t, err)
	transport, done, err := memory.NewTransport(log)
	require.NoError(t, err)
	require.NoError(t, transport.Ping(t.Context()))
	done()
	require.Equal(t, bus.CodeClosed, bus.CodeOf(transport.Ping(t.Context())))
	done() // a second call has no effect
	_, _, err = memory.NewTransport(nil)
	require.Equal(t, bus.CodeInvalidArgument, bus.CodeOf(err))
}
