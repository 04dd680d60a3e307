package gochannel_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/trunkline/trunkline/bus"
	"github.com/trunkline/trunkline/transport/gochannel"
)

func TestProviderClosesTransportOnCleanup(t *testing.T) {
	t.Parallel()
	transport, done, err := gochannel.NewTransport(gochannel.Config{Buffer: 3})
	require.NoError(t, err)
	require.NoError(t, transport.Ping(t.Context()))
	done()
	require.Equal(t, bus.CodeClosed, bus.CodeOf(transport.Ping(t.Context())))
	done() // a second call has no effect
	_, _, err = gochannel.NewTransport(gochannel.Config{Buffer: -1})
	require.Equal(t, bus.CodeInvalidArgument, bus.CodeOf(err))
}
