package main

import (
	"bytes"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/trunkline/trunkline/internal/leaktest"
)

func TestMain(m *testing.M) { leaktest.Main(m) }

func TestGreeter(t *testing.T) {
	t.Parallel()
	for _, url := range []string{"memory://TestGreeter", "chan://TestGreeter"} {
		var out, errs bytes.Buffer
		require.Zero(t, run(t.Context(), []string{"-bus", url, "Ada", "Grace"}, &out, &errs), errs.String())
		require.Equal(t, "hello Ada\nhello Grace\n", out.String())
	}
}

func TestGreeterRefuses(t *testing.T) {
	t.Parallel()
	var out, errs bytes.Buffer
	require.Equal(t, 1, run(t.Context(), []string{"-bus", "nats://h"}, &out, &errs))
	require.Contains(t, errs.String(), "nats")
	require.Equal(t, 2, run(t.Context(), []string{"-speed", "9"}, &out, &errs))
}
