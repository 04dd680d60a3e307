package foreign_test

import (
	"testing"

	"github.com/ThreeDotsLabs/watermill"
	wmchan "github.com/ThreeDotsLabs/watermill/pubsub/gochannel"
	"github.com/stretchr/testify/require"

	"github.com/trunkline/trunkline/bus"
	"github.com/trunkline/trunkline/transport/foreign"
)

func TestProviderClosesTransportOnCleanup(t *testing.T) {
	t.Parallel()
	pubsub := wmchan.NewGoChannel(wmchan.Config{}, watermill.NopLogger{})
	transport, done, err := foreign.NewTransport(pubsub, pubsub, foreign.Options{foreign.WithName("channels")})
	require.NoError(t, err)
	require.Equal(t, "channels", transport.Capabilities().Name)
	done()
	done() // a second call has no effect
	require.Equal(t, bus.CodeClosed, bus.CodeOf(transport.Ready(t.Context())))
	_, _, err = foreign.NewTransport(nil, pubsub, nil)
	require.Equal(t, bus.CodeInvalidArgument, bus.CodeOf(err))
}
