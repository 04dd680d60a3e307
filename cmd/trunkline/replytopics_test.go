package main

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/trunkline/trunkline/bus"
	"github.com/trunkline/trunkline/rpc"
	"github.com/trunkline/trunkline/testing/kafkatest/kafkatb"
)

// answerTime is long enough for a client to answer on a busy machine. The commands wait
// all of it for a client that has crashed.
const answerTime = "8s"

func TestReplyTopicsListsAndCleans(t *testing.T) {
	t.Parallel()
	broker := kafkatb.Embedded(t) // not a shared one: clean deletes the topics of other tests too
	url := "kafka://" + strings.Join(broker.Addrs(), ",")
	client := func(name string) (*rpc.Client, *bus.Bus) {
		b, err := bus.Open(t.Context(), url)
		require.NoError(t, err)
		t.Cleanup(func() { b.Close() })
		c, err := rpc.NewClient(b, rpc.WithName(name))
		require.NoError(t, err)
		require.NoError(t, c.Ready(t.Context()))
		return c, b
	}
	alive, _ := client("alive")
	t.Cleanup(func() { require.NoError(t, alive.Close()) })
	dead, b := client("dead")
	require.NoError(t, b.Close()) // as a crash would
	require.Error(t, dead.Close())

	list := func() (names map[string]bool) {
		code, stdout, stderr := command(t, "reply-topics", "list", "-bus", url, "-wait", answerTime, "-json")
		require.Equal(t, exitOK, code, stderr)
		var topics []struct {
			Topic string
			Alive bool
		}
		require.NoError(t, json.Unmarshal([]byte(stdout), &topics))
		names = map[string]bool{}
		for _, topic := range topics {
			names[topic.Topic] = topic.Alive
		}
		return names
	}
	require.Equal(t, map[string]bool{alive.ReplyTopic(): true, dead.ReplyTopic(): false}, list())
	code, stdout, stderr := command(t, "reply-topics", "clean", "-bus", url, "-wait", answerTime)
	require.Equal(t, exitOK, code, stderr)
	require.Contains(t, stdout, dead.ReplyTopic())
	require.NotContains(t, stdout, alive.ReplyTopic())
	require.Equal(t, map[string]bool{alive.ReplyTopic(): true}, list())
}

func TestReplyTopicsUsage(t *testing.T) {
	t.Parallel()
	for want, args := range map[string][]string{
		"list, clean":        {"reply-topics"},
		`unknown command`:    {"reply-topics", "mend"},
		"-bus is missing":    {"reply-topics", "list"},
		"-wait must be":      {"reply-topics", "clean", "-bus", "memory://", "-wait", "0s"},
		`argument "now"`:     {"reply-topics", "clean", "now"},
		"nats":               {"reply-topics", "list", "-bus", "nats://h"},
		"flag provided but ": {"reply-topics", "list", "-speed", "9"},
	} {
		code, stdout, stderr := command(t, args...)
		require.Equal(t, exitUsage, code, stdout+stderr)
		require.Contains(t, stderr, want)
		require.Equal(t, 1, strings.Count(stderr, "\n"), stderr)
	}
	code, stdout, _ := command(t, "reply-topics", "clean", "-help")
	require.Equal(t, exitOK, code)
	require.Contains(t, stdout, "EXIT CODES")
}
