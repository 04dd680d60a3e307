package bus_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/trunkline/trunkline/bus"
	"github.com/trunkline/trunkline/bus/driver"
)

func init() {
	driver.Register("script", func(_ context.Context, u *driver.URL) (driver.Transport, error) {
		s := newScript()
		s.caps.MaxMessageBytes = u.Int("max", 0, 1)
		s.caps.Groups = u.Bool("groups", true)
		return s, u.Done()
	})
}

func TestOpenReadsTheURL(t *testing.T) {
	t.Parallel()
	b, err := bus.Open(t.Context(), "script://h1:1,h2:2/path?max=10&group=g&start=newest&close=3s")
	require.NoError(t, err)
	require.Equal(t, 10, b.Capabilities().MaxMessageBytes)
	sub, err := b.Consume(t.Context(), "t", func(context.Context, *bus.Delivery) error { return nil })
	require.NoError(t, err)
	require.Equal(t, "g", sub.Group())
	require.NoError(t, b.Close())
}

func TestOpenReturnsAnErrorForAnInvalidURL(t *testing.T) {
	t.Parallel()
	for name, url := range map[string]string{
		"no scheme":         "localhost:9092",
		"empty":             "",
		"unknown scheme":    "carrier-pigeon://loft",
		"unknown parameter": "script://x?max=10&colour=red",
		"twice":             "script://x?max=1&max=2",
		"not a number":      "script://x?max=many",
		"not a start":       "script://x?start=tomorrow",
		"not a bool":        "script://x?create=perhaps",
		"not a duration":    "script://x?close=3",
		"fragment":          "script://x#y",
		"escape":            "script://x?max=%zz",
	} {
		_, err := bus.Open(t.Context(), url)
		require.Equal(t, bus.CodeInvalidArgument, bus.CodeOf(err), "%s: %v", name, err)
	}
	_, err := bus.Open(t.Context(), "script://x?groups=false&group=g")
	require.Equal(t, bus.CodeUnsupported, bus.CodeOf(err))
	_, err = bus.Open(t.Context(), "script://user:hunter2@x?max=1")
	require.Equal(t, bus.CodeInvalidArgument, bus.CodeOf(err))
	require.NotContains(t, err.Error(), "hunter2", "the error must not contain the secret")
	require.Panics(t, func() { driver.Register("script", nil) })
}

func FuzzParseURL(f *testing.F) {
	for _, s := range []string{"memory://a", "kafka://h1:1,h2:2/p?x=1&y=2", "chan://", "://", "a://b?%", "x://@"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, raw string) {
		u, err := driver.ParseURL(raw)
		if err != nil {
			require.Equal(t, bus.CodeInvalidArgument, bus.CodeOf(err))
			return
		}
		u.Hosts()
		u.Int("n", 0, 0)
		u.Duration("d", time.Second)
		_ = u.Done()
		again, err := driver.ParseURL(u.String())
		require.NoError(t, err)
		require.Equal(t, u.String(), again.String())
	})
}
