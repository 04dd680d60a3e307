//go:build unix

package main

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestClusterIDNeverLooksLikeAnOption(t *testing.T) {
	t.Parallel()
	for range 10_000 {
		require.Regexp(t, `^[A-Za-f][A-Za-z0-9_-]{21}$`, newClusterID())
	}
}
