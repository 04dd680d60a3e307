package gochannel_test

import (
	"testing"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/stretchr/testify/require"

	"github.com/trunkline/trunkline/bus"
	"github.com/trunkline/trunkline/bus/driver"
)

func openURL(t *testing.T, url string) driver.Transport {
	t.Helper()
	tr, err := driver.Open(t.Context(), url)
	require.NoError(t, err)
	return tr
}

func TestNamedURLSharesChannels(t *testing.T) {
	t.Parallel()
	one, two := openURL(t, "chan://shared?buffer=1"), openURL(t, "chan://shared")
	other, own := openURL(t, "chan://another"), openURL(t, "chan://")
	for _, tr := range []driver.Transport{other, own} {
		subscribe(t, tr, "orders") // its buffer stays empty, because it does not share the channels
	}
	_, p := subscribe(t, one, "orders")
	sink := newOutcomes(t)
	two.Publish([]driver.Outgoing{outgoing(t.Context(), sink, "orders", 0)})
	require.Equal(t, []string{"0"}, read(t, p, 0, 1))

	require.NoError(t, two.Close(t.Context()))
	require.NoError(t, p.Context().Err(), "closing one transport does not end the sessions of the other")
	require.NoError(t, one.Close(t.Context()))
	require.Error(t, p.Context().Err())
	require.NoError(t, other.Close(t.Context()))
	require.NoError(t, own.Close(t.Context()))
}

func TestOpenRejectsInvalidURL(t *testing.T) {
	t.Parallel()
	for _, url := range []string{
		"chan://name?buffer=0", "chan://name?buffer=many", "chan://name?buffers=2", "chan://name/path", "chan://a,b", "chan://me:secret@name",
	} {
		_, err := driver.Open(t.Context(), url)
		require.Equal(t, bus.CodeInvalidArgument, bus.CodeOf(err), url)
		require.NotContains(t, err.Error(), "secret")
	}
	b, err := bus.Open(t.Context(), "chan://")
	require.NoError(t, err)
	require.NoError(t, b.Publish("orders", message.NewMessage("id", nil)))
	require.NoError(t, b.Close())
}
