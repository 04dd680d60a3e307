package devices_test

import (
	"testing"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/trunkline/trunkline/examples/devices"
)

func apply(l *devices.Ledger, step devices.Step, device string) error {
	request := devices.RequestOf(step, device)
	_, err := l.Apply(step, device, device, request)
	return err
}

func TestLedgerFollowsTheOrder(t *testing.T) {
	t.Parallel()
	var l devices.Ledger
	for step := devices.Adopt; step <= devices.Enable; step++ {
		answer, err := l.Apply(step, "d", "d", devices.RequestOf(step, "d"))
		require.NoError(t, err)
		require.Equal(t, devices.AnswerOf(step, "d"), answer)
		require.NoError(t, apply(&l, step, "d"), "a repetition")
		require.Equal(t, step, l.State("d"))
	}
	require.Equal(t, devices.Summary{Devices: 1, Enabled: 1, Steps: 3, Repeated: 3}, l.Summary())
}

func TestLedgerRejectsUnexpectedRequests(t *testing.T) {
	t.Parallel()
	wrong := devices.ConfigureOf("d")
	wrong.VLAN++
	for name, tc := range map[string]struct {
		before  []devices.Step
		step    devices.Step
		key     string
		request any
		want    string
	}{
		"a step too soon":      {nil, devices.Configure, "d", devices.ConfigureOf("d"), "out of order: it follows new"},
		"a step left out":      {[]devices.Step{devices.Adopt}, devices.Enable, "d", devices.EnableOf("d"), "out of order: it follows adopt"},
		"an old step":          {[]devices.Step{devices.Adopt, devices.Configure}, devices.Adopt, "d", devices.AdoptOf("d"), "out of order: it follows configure"},
		"another key":          {nil, devices.Adopt, "e", devices.AdoptOf("d"), `has the key "e"`},
		"another device's":     {nil, devices.Adopt, "d", devices.AdoptOf("e"), "not the expected request"},
		"changed":              {[]devices.Step{devices.Adopt}, devices.Configure, "d", wrong, "not the expected request"},
		"changed protobuf":     {[]devices.Step{devices.Adopt, devices.Configure}, devices.Enable, "d", wrapperspb.String("e"), "not the expected request"},
		"repeated and changed": {[]devices.Step{devices.Adopt, devices.Configure}, devices.Configure, "d", wrong, "not the expected request"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var l devices.Ledger
			for _, step := range tc.before {
				require.NoError(t, apply(&l, step, "d"))
			}
			_, err := l.Apply(tc.step, "d", tc.key, tc.request)
			require.ErrorContains(t, err, tc.want)
			s := l.Summary()
			require.Len(t, s.Violations, 1)
			require.Contains(t, s.Violations[0], tc.want)
			require.Equal(t, len(tc.before), s.Steps, "nothing was done")
		})
	}
}

func TestRequestsDiffer(t *testing.T) {
	t.Parallel()
	require.NotEqual(t, devices.AdoptOf("a").Serial, devices.AdoptOf("b").Serial)
	require.NotEqual(t, devices.AnswerOf(devices.Adopt, "a").Receipt, devices.AnswerOf(devices.Enable, "a").Receipt)
	require.Equal(t, "adapter.configure", devices.Configure.Method())
	require.Equal(t, "Step(9)", devices.Step(9).String())
}
