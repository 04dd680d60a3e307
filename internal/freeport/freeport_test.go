package freeport_test

import (
	"net"
	"strconv"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/trunkline/trunkline/internal/freeport"
)

func TestLoopbackReturnsAPortThatCanBeListenedOn(t *testing.T) {
	t.Parallel()
	port, err := freeport.Loopback()
	require.NoError(t, err)
	assert.Less(t, port, 32_768, "Linux chooses the local ports of connections from 32768")
	l, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
	require.NoError(t, err)
	require.NoError(t, l.Close())
}
