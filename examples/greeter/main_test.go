package main

import (
	"bytes"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/trunkline/trunkline/internal/leaktest"
)

func TestMain(m *testing.M) { leaktest.Main(m) }

func TestGreeterPrintsAGreetingForEachName(t *testing.T) {
	t.Parallel()
	for _, url := range []string{"memory://greeter-test", "chan://greeter-test"} {
		var out, errs bytes.Buffer
		require.Zero(t, run(t.Context(), []string{"-bus", url, "Ada", "Grace"}, &out, &errs), errs.String())
		require.Equal(t, "hello Ada\nhello Grace\n", out.String())
	}
}

func TestGreeterRejectsAWrongCommandLine(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		args []string
		says string
	}{
		"unknown scheme": {[]string{"-bus", "nats://h"}, "nats"},
		"no bus":         {nil, "BusURL is missing"},
		"unknown flag":   {[]string{"-speed", "9"}, "-speed"},
		"TLS in memory":  {[]string{"-bus", "memory://x", "-kafka-tls"}, "tls"},
	} {
		var out, errs bytes.Buffer
		require.Equal(t, 2, run(t.Context(), tc.args, &out, &errs), name)
		require.Contains(t, errs.String(), tc.says, name)
	}
}
