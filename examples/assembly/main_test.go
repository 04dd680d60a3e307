package main

import (
	"bytes"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/trunkline/trunkline/internal/leaktest"
)

func TestMain(m *testing.M) { leaktest.Main(m) }

func TestReplacedPartsAreUsed(t *testing.T) {
	t.Parallel()
	var out, errs bytes.Buffer
	require.Zero(t, run(t.Context(), []string{"-bus", "memory://assembly-test"}, &out, &errs), errs.String())
	require.Equal(t, "assembly-0 answered hello\n", out.String())
}
