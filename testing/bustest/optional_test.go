package bustest_test

import (
	"context"
	"errors"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/trunkline/trunkline/bus/driver"
	"github.com/trunkline/trunkline/testing/bustest"
	"github.com/trunkline/trunkline/transport/gochannel"
	"github.com/trunkline/trunkline/transport/memory"
)

var errOptional = errors.New("an error of the transport")

// able is a transport with every optional interface; each method returns a value that the test
// recognizes.
type able struct{ *memory.Transport }

func (able) Check(_ context.Context, spec driver.CheckSpec) driver.Health {
	return driver.Health{Warning: spec.Topics[0]}
}
func (able) AddPartitions(context.Context, string, int32) error  { return errOptional }
func (able) Listening(string) (bool, error)                      { return false, errOptional }
func (able) CreateTopic(context.Context, driver.TopicSpec) error { return errOptional }
func (able) DeleteTopic(context.Context, string) error           { return errOptional }
func (able) ListTopics(context.Context) ([]string, error)        { return nil, errOptional }
func (able) DescribeTopic(context.Context, string) (driver.TopicInfo, error) {
	return driver.TopicInfo{}, errOptional
}

func TestOptionalInterfacesAreForwarded(t *testing.T) {
	t.Parallel()
	inner, err := memory.New()
	require.NoError(t, err)
	f, err := bustest.NewFaults(able{inner}, 1)
	require.NoError(t, err)
	defer f.Close(context.Background())
	ctx := t.Context()
	check := func() driver.Health { return f.Check(ctx, driver.CheckSpec{Topics: []string{"orders"}}) }
	require.Equal(t, driver.Health{Warning: "orders"}, check())
	calls := map[string]func() error{
		"AddPartitions": func() error { return f.AddPartitions(ctx, "t", 2) },
		"CreateTopic":   func() error { return f.CreateTopic(ctx, driver.TopicSpec{Name: "t"}) },
		"DeleteTopic":   func() error { return f.DeleteTopic(ctx, "t") },
		"DescribeTopic": func() error { _, err := f.DescribeTopic(ctx, "t"); return err },
		"ListTopics":    func() error { _, err := f.ListTopics(ctx); return err },
	}
	for name, call := range calls {
		require.Equal(t, errOptional, call(), name)
	}
	_, err = f.Listening("t")
	require.Equal(t, errOptional, err)

	f.Disconnect(nil)
	for name, call := range calls {
		require.Equal(t, driver.CodeUnavailable, driver.CodeOf(call()), name)
	}
	require.EqualError(t, check().Err, "memory: check: the connection was cut by a fault: the test called Disconnect (unavailable)")
}

func TestMissingOptionalInterfacesAreUnsupported(t *testing.T) {
	t.Parallel()
	inner, err := gochannel.New()
	require.NoError(t, err)
	f, err := bustest.NewFaults(inner, 1)
	require.NoError(t, err)
	require.Equal(t, driver.CodeUnsupported, driver.CodeOf(f.AddPartitions(t.Context(), "t", 2)))
	require.Equal(t, driver.Health{}, f.Check(t.Context(), driver.CheckSpec{}))
	require.NoError(t, f.Close(t.Context()))
	require.Error(t, f.Check(t.Context(), driver.CheckSpec{}).Err)
}

func TestExtentIsForwarded(t *testing.T) {
	t.Parallel()
	for name, rules := range map[string][]bustest.Rule{
		"no rules":               nil,
		"rules that never apply": {bustest.OnFetch("", bustest.Probability(0), bustest.Rebalance())},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newFaultyBus(t, 1, 1, rules...)
			defer r.Close()
			require.Equal(t, make([]string, 3), r.outcomes("t", numbered(3)...))
			s, err := r.faults.Subscribe(t.Context(), driver.Subscription{Topic: "t", Group: "g", MaxFetch: 2})
			require.NoError(t, err)
			event, err := s.Next(t.Context())
			require.NoError(t, err)
			claim := event.Added[0]
			extent := func() []int64 {
				x, ok := claim.(driver.Extent)
				require.True(t, ok)
				next, end, known := x.Extent()
				require.True(t, known)
				return []int64{next, end}
			}
			require.Equal(t, []int64{0, 3}, extent())
			_, err = claim.Fetch(t.Context())
			require.NoError(t, err)
			require.Equal(t, []int64{2, 3}, extent())
			_, err = claim.Fetch(t.Context())
			require.NoError(t, err)
			require.Equal(t, []int64{3, 3}, extent())
			claim.Release()
			require.NoError(t, s.Close(t.Context()))
		})
	}
}
