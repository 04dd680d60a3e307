package gochannel_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/trunkline/trunkline/bus/driver"
)

// FuzzOpenURL opens a URL. Either the error is InvalidArgument, or the transport works.
func FuzzOpenURL(f *testing.F) {
	for _, rest := range []string{"", "name", "name?buffer=64", "?buffer=0", "a,b", "a/b", "a?buffer=1&buffer=2", "me:secret@name", "a#b", "a?%zz", "a?buffer=99999999999999999999"} {
		f.Add(rest)
	}
	f.Fuzz(func(t *testing.T, rest string) {
		tr, err := driver.Open(t.Context(), "chan://"+rest)
		if err != nil {
			require.Equal(t, driver.CodeInvalidArgument, driver.CodeOf(err))
			return
		}
		_, p := subscribe(t, tr, "orders")
		sink := newOutcomes(t)
		tr.Publish([]driver.Outgoing{outgoing(t.Context(), sink, "orders", 0)})
		require.Equal(t, []string{"0"}, read(t, p, 0, 1))
		require.NoError(t, tr.Close(t.Context()))
	})
}
