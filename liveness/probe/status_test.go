package probe_test

import (
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/trunkline/trunkline/liveness/probe"
)

func TestStatusNames(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		status         probe.Status
		name           string
		ready, healthy bool
	}{
		{probe.Unknown, "Unknown", false, true},
		{probe.Preparing, "Preparing", false, true},
		{probe.Prepared, "Prepared", false, true},
		{probe.Running, "Running", true, true},
		{probe.NotReady, "NotReady", false, true},
		{probe.Stopped, "Stopped", false, false},
		{probe.Failed, "Failed", false, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			require.Equal(t, tc.name, tc.status.String())
			require.Equal(t, tc.ready, tc.status.Ready())
			require.Equal(t, tc.healthy, tc.status.Healthy())

			text, err := json.Marshal(tc.status)
			require.NoError(t, err)
			require.Equal(t, `"`+tc.name+`"`, string(text))
			var back probe.Status
			require.NoError(t, json.Unmarshal(text, &back))
			require.Equal(t, tc.status, back)
		})
	}
}

func TestUndefinedStatus(t *testing.T) {
	t.Parallel()
	require.Equal(t, probe.Unknown, *new(probe.Status))
	require.Equal(t, "Status(7)", probe.Status(7).String())
	_, err := probe.Status(7).MarshalText()
	require.ErrorContains(t, err, "7")

	status := probe.Running
	require.ErrorContains(t, status.UnmarshalText([]byte("running")), `"running"`)
	require.Equal(t, probe.Running, status, "a failed unmarshal changes nothing")
}
