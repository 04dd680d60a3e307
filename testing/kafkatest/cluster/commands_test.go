//go:build unix

package main

import (
	"bytes"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/trunkline/trunkline/internal/leaktest"
)

func TestMain(m *testing.M) { leaktest.Main(m) }

func TestParseAcceptsFlagsAnywhere(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for name, tt := range map[string]struct {
		args []string
		want command
	}{
		"up": {
			[]string{"up", "-dir", dir},
			command{name: "up", dir: dir, version: defaultVersion, nodes: 3, secure: true, timeout: 2 * time.Minute},
		},
		"up one node": {
			[]string{"up", "-nodes=1", "-kafka", "3.9.2", "-cache", "/c", "-secure=false", "-timeout", "5s", "-dir", dir},
			command{name: "up", dir: dir, cache: "/c", version: "3.9.2", nodes: 1, timeout: 5 * time.Second},
		},
		"flags between node numbers": {
			[]string{"kill", "1", "-dir", dir, "3"},
			command{name: "kill", dir: dir, timeout: 2 * time.Minute, ids: []int{1, 3}},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := parse(tt.args)
			require.NoError(t, err)
			require.Equal(t, &tt.want, got)
		})
	}
}

func TestWrongUsageIsExplained(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		args []string
		want string
	}{
		"no command":              {nil, "no command"},
		"unknown command":         {[]string{"restart"}, `unknown command "restart"`},
		"flag of another command": {[]string{"down", "-nodes", "3"}, "-nodes"},
		"two nodes":               {[]string{"up", "-nodes", "2"}, "must be 1 or 3"},
		"path as version":         {[]string{"up", "-kafka", "../x"}, "must be a version"},
		"kill without nodes":      {[]string{"kill"}, "at least one node"},
		"stop without nodes":      {[]string{"stop"}, "at least one node"},
		"kill a name":             {[]string{"kill", "x"}, `"x" is not a node number`},
		"kill node zero":          {[]string{"kill", "0"}, `"0" is not a node number`},
		"down with a node":        {[]string{"down", "1"}, "no node numbers"},
		"no time-out":             {[]string{"down", "-timeout", "0s"}, "-timeout"},
		"pause a word":            {[]string{"pause", "1", "two"}, `"two" is not`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var stdout, stderr bytes.Buffer
			require.Equal(t, exitUsage, run(t.Context(), tt.args, &stdout, &stderr))
			require.Contains(t, stderr.String(), tt.want)
			require.Empty(t, stdout.String())
		})
	}
}

func TestHelpIsOnStdout(t *testing.T) {
	t.Parallel()
	for _, args := range [][]string{{"--help"}, {"help"}, {"up", "-h"}, {"kill", "1", "--help"}} {
		var stdout, stderr bytes.Buffer
		require.Equal(t, exitOK, run(t.Context(), args, &stdout, &stderr))
		require.Contains(t, stdout.String(), "usage: cluster")
		require.Empty(t, stderr.String())
	}
}

func TestCommandsWithoutAClusterFailExceptDown(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "none")
	for _, name := range []string{"status", "kill", "start", "pause", "resume"} {
		args := []string{name, "-dir", dir}
		if name != "status" {
			args = append(args, "1")
		}
		var stdout, stderr bytes.Buffer
		require.Equal(t, exitFailed, run(t.Context(), args, &stdout, &stderr))
		require.Contains(t, stderr.String(), "cluster up")
	}
	var stdout, stderr bytes.Buffer
	require.Equal(t, exitOK, run(t.Context(), []string{"down", "-dir", dir}, &stdout, &stderr))
	require.NoDirExists(t, dir)
}

func TestUpNamesMissingTools(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("PATH", dir)
	up := []string{"up", "-dir", filepath.Join(dir, "state"), "-cache", filepath.Join(dir, "cache")}

	var stdout, stderr bytes.Buffer
	require.Equal(t, exitFailed, run(t.Context(), up, &stdout, &stderr))
	require.Contains(t, stderr.String(), "java is not in PATH")

	fakeJava(t, dir, "exit 1")
	stderr.Reset()
	require.Equal(t, exitFailed, run(t.Context(), up, &stdout, &stderr))
	require.Contains(t, stderr.String(), "mvn is not in PATH")
	require.Empty(t, stdout.String())
}

func TestFailedUpRemovesItsFiles(t *testing.T) {
	bin, dir, cache := t.TempDir(), filepath.Join(t.TempDir(), "state"), t.TempDir()
	require.NoError(t, os.Mkdir(filepath.Join(cache, "9.9.9"), 0o755))
	up := []string{"up", "-nodes=1", "-kafka=9.9.9", "-dir", dir, "-cache", cache}
	t.Setenv("PATH", bin+":/bin:/usr/bin")

	for name, tt := range map[string]struct{ java, want string }{
		"format": {`echo no space; exit 1`, "format the storage of node 1: exit status 1\nno space"},
		"start":  {`case "$*" in *StorageTool*) ;; *) echo no heap; exit 1 ;; esac`, "its process has ended"},
	} {
		t.Run(name, func(t *testing.T) {
			fakeJava(t, bin, tt.java)
			var stdout, stderr bytes.Buffer
			require.Equal(t, exitFailed, run(t.Context(), up, &stdout, &stderr))
			require.Contains(t, stderr.String(), tt.want)
			if name == "start" {
				require.Contains(t, stderr.String(), "no heap")
			}
			require.Empty(t, stdout.String())
			require.NoDirExists(t, dir)
		})
	}
}

// fakeJava writes a shell script named java to dir.
func fakeJava(t *testing.T, dir, script string) {
	t.Helper()
	path := filepath.Join(dir, "java")
	require.NoError(t, os.WriteFile(path, []byte("#!/bin/sh\n"+script+"\n"), 0o755))
}

// hangingJava returns the path of a java that ignores SIGTERM. It is a file in testdata,
// because a script that a test has just written cannot be executed while a process that
// another test has forked holds it open.
func hangingJava(t *testing.T) string {
	t.Helper()
	path, err := filepath.Abs(filepath.Join("testdata", "hanging-java"))
	require.NoError(t, err)
	return path
}

func TestSignalsChangeTheStateOfAProcess(t *testing.T) {
	t.Parallel()
	java := hangingJava(t)
	dir := t.TempDir()
	s, err := newState(dir, "9.9.9", dir, 1, true)
	require.NoError(t, err)
	require.NoError(t, write(s))
	quiet := func(string, ...any) {}
	n := &s.Nodes[0]
	require.Equal(t, stopped, n.process())
	require.ErrorContains(t, n.signal(syscall.SIGSTOP), "cluster start 1")

	require.NoError(t, launch(java, s, n))
	t.Cleanup(func() { _ = n.signal(syscall.SIGKILL) })
	require.NoError(t, s.save())
	require.Equal(t, running, n.process())

	again, err := load(dir)
	require.NoError(t, err)
	require.Equal(t, s, again)
	require.Equal(t, running, again.Nodes[0].process())

	eventually := func(want processState) {
		t.Helper()
		require.Eventually(t, func() bool { return n.process() == want }, 30*time.Second, 5*time.Millisecond)
	}
	require.NoError(t, signalAll([]*node{n}, syscall.SIGSTOP, "paused", quiet))
	eventually(paused)
	require.NoError(t, signalAll([]*node{n}, syscall.SIGCONT, "resumed", quiet))
	eventually(running)
	require.NoError(t, end(t.Context(), []*node{n}, syscall.SIGKILL, "killed", quiet))
	require.Equal(t, stopped, n.process())
}

func TestLaunchReturnsWhenTheProcessIsRunning(t *testing.T) {
	t.Parallel()
	java := hangingJava(t)
	dir := t.TempDir()
	s, err := newState(dir, "9.9.9", dir, 1, true)
	require.NoError(t, err)
	require.NoError(t, write(s))
	n := &s.Nodes[0]
	for range 100 {
		require.NoError(t, launch(java, s, n))
		seen := n.process()
		_ = syscall.Kill(n.PID, syscall.SIGKILL)
		require.Equal(t, running, seen)
	}
}

func TestDownKillsHangingNodesAndKeepsOtherFiles(t *testing.T) {
	t.Parallel()
	java := hangingJava(t)
	dir := t.TempDir()
	s, err := newState(dir, "9.9.9", dir, 1, true)
	require.NoError(t, err)
	require.NoError(t, write(s))
	require.NoError(t, launch(java, s, &s.Nodes[0]))
	other := filepath.Join(dir, "notes.txt")
	require.NoError(t, os.WriteFile(other, nil, 0o644))

	require.NoError(t, down(t.Context(), s, func(string, ...any) {}))
	require.Equal(t, stopped, s.Nodes[0].process())
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	require.Len(t, entries, 1)
	require.FileExists(t, other)
}

func TestReusedProcessIDCountsAsStopped(t *testing.T) {
	t.Parallel()
	n := node{ID: 1, PID: os.Getpid(), dir: "/no/such/node-1"}
	require.Equal(t, stopped, n.process())
}

func TestLockExcludesOtherCommands(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "state")
	unlock, err := lock(dir)
	require.NoError(t, err)
	_, err = lock(dir)
	require.ErrorContains(t, err, "another cluster command")
	unlock()
	unlock, err = lock(dir)
	require.NoError(t, err)
	unlock()
}
