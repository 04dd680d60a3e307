//go:build unix

package main

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func parseProperties(t *testing.T, text string) map[string]string {
	t.Helper()
	p := make(map[string]string)
	for line := range strings.Lines(text) {
		key, value, ok := strings.Cut(strings.TrimSuffix(line, "\n"), "=")
		require.True(t, ok, line)
		require.NotContains(t, p, key)
		p[key] = value
	}
	return p
}

func TestPropertiesOfOneNodeNeedNoReplication(t *testing.T) {
	t.Parallel()
	n := node{ID: 1, Port: 1001, ControllerPort: 1002, dir: "/d/node-1"}
	p := parseProperties(t, properties(n, &state{Nodes: []node{n}}))
	require.Equal(t, "1@127.0.0.1:1002", p["controller.quorum.voters"])
	require.Equal(t, "PLAINTEXT://127.0.0.1:1001,CONTROLLER://127.0.0.1:1002", p["listeners"])
	require.Equal(t, "PLAINTEXT://127.0.0.1:1001", p["advertised.listeners"])
	require.Equal(t, "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT", p["listener.security.protocol.map"])
	require.Equal(t, "/d/node-1/data", p["log.dirs"])
	require.Equal(t, "false", p["auto.create.topics.enable"])
	for _, key := range []string{"default.replication.factor", "min.insync.replicas", "offsets.topic.replication.factor"} {
		require.Equal(t, "1", p[key], key)
	}
}

func TestPropertiesOfThreeNodesReplicate(t *testing.T) {
	t.Parallel()
	nodes := []node{
		{ID: 1, Port: 1001, ControllerPort: 1002, dir: "/d/node-1"},
		{ID: 2, Port: 2001, ControllerPort: 2002, dir: "/d/node-2"},
		{ID: 3, Port: 3001, ControllerPort: 3002, dir: "/d/node-3"},
	}
	for _, n := range nodes {
		p := parseProperties(t, properties(n, &state{Nodes: nodes}))
		require.Equal(t, "1@127.0.0.1:1002,2@127.0.0.1:2002,3@127.0.0.1:3002", p["controller.quorum.voters"])
		require.Equal(t, "3", p["default.replication.factor"])
		require.Equal(t, "2", p["min.insync.replicas"])
		require.Equal(t, "3000", p["broker.session.timeout.ms"])
	}
}

func TestPropertiesEscapeBackslashes(t *testing.T) {
	t.Parallel()
	n := node{ID: 1, dir: `/a\b`}
	require.Contains(t, properties(n, &state{Nodes: []node{n}}), `log.dirs=/a\\b/data`)
}

func TestComposeFileHasTheSameSettings(t *testing.T) {
	t.Parallel()
	raw, err := os.ReadFile(filepath.Join("..", "compose.yaml"))
	require.NoError(t, err)
	s, err := newState(t.TempDir(), defaultVersion, "/libs", 3, false)
	require.NoError(t, err)
	// These settings differ for each node, or in containers.
	own := regexp.MustCompile(`^(node\.id|log\.dirs|listeners|advertised\.listeners|controller\.quorum\.voters|listener\.security\.protocol\.map)$`)
	for key, value := range parseProperties(t, properties(s.Nodes[0], s)) {
		if !own.MatchString(key) {
			name := "KAFKA_" + strings.ToUpper(strings.ReplaceAll(key, ".", "_"))
			require.Contains(t, string(raw), fmt.Sprintf("  %s: %q\n", name, value))
		}
	}
	require.Contains(t, string(raw), "image: apache/kafka:"+defaultVersion+"\n")
}

func TestNewStateHasDifferentPorts(t *testing.T) {
	t.Parallel()
	s, err := newState(t.TempDir(), defaultVersion, "/libs", 3, true)
	require.NoError(t, err)
	require.Len(t, s.ClusterID, 22)
	seen := make(map[int]bool)
	for _, n := range s.Nodes {
		seen[n.Port], seen[n.ControllerPort] = true, true
		require.Len(t, n.SecurePorts, 4)
		for _, port := range n.SecurePorts {
			seen[port] = true
		}
	}
	require.Len(t, seen, 3*6)
	require.Len(t, strings.Split(s.addrs(), ","), 3)

	nodes, err := s.nodesByID([]int{3, 1})
	require.NoError(t, err)
	require.Equal(t, 3, nodes[0].ID)
	_, err = s.nodesByID([]int{4})
	require.ErrorContains(t, err, "nodes 1 to 3")
}
