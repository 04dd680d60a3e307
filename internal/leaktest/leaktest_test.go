package leaktest

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestMain(m *testing.M) { Main(m) }

func TestWhatEndsIsNoLeak(t *testing.T) {
	end := make(chan struct{})
	go func() { <-end }()
	require.ErrorContains(t, find(0), "TestWhatEndsIsNoLeak")
	time.AfterFunc(600*time.Millisecond, func() { close(end) }) // goleak has given up by then
	require.NoError(t, find(patience))
}
