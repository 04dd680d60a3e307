package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/stretchr/testify/require"

	"github.com/trunkline/trunkline/bus"
	"github.com/trunkline/trunkline/cmd/trunkline/internal/dlq"
	"github.com/trunkline/trunkline/testing/kafkatest/kafkatb"
)

// wait bounds operations that take a moment unless the machine is busy.
const wait = 20 * time.Second

// morgue is a bus with a topic "orders" and its dead-letter topic "dead". The topic "dead" has
// the letters 0 to 5 in one partition, with the keys k0, k1, k0, …; the odd letters are
// undecodable.
type morgue struct {
	t            *testing.T
	url          string
	bus          *bus.Bus
	orders, dead string
}

func onMorgues(t *testing.T, f func(t *testing.T, m *morgue)) {
	for name, open := range map[string]func(t *testing.T) string{
		"memory": func(t *testing.T) string { return "memory://" + kafkatb.Name(t) },
		"kafka":  func(t *testing.T) string { return "kafka://" + kafkatb.New(t).Addrs()[0] },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f(t, newMorgue(t, open(t)))
		})
	}
}

func newMorgue(t *testing.T, url string) *morgue {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	b, err := bus.Open(ctx, url)
	require.NoError(t, err)
	t.Cleanup(func() { b.Close() })
	m := &morgue{t, url, b, kafkatb.Name(t), kafkatb.Name(t)}
	for _, topic := range []string{m.orders, m.dead} {
		require.NoError(t, b.CreateTopic(ctx, bus.TopicSpec{Name: topic, Partitions: 1}))
		t.Cleanup(func() {
			ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
			defer cancel()
			require.NoError(t, b.DeleteTopic(ctx, topic))
		})
	}
	for i := range 6 {
		msg := message.NewMessage(fmt.Sprintf("u%d", i), fmt.Appendf(nil, `{"n": %d}`, i))
		bus.SetKey(msg, fmt.Sprintf("k%d", i%2))
		msg.Metadata.Set("tenant", "blue")
		require.NoError(t, b.Publish(m.orders, msg))
	}
	refused := make(chan struct{}, 6)
	sub, err := b.Consume(ctx, m.orders, func(_ context.Context, d *bus.Delivery) error {
		refused <- struct{}{}
		if d.Record.Offset%2 == 1 {
			return bus.DeadLetter(&bus.Error{Code: bus.CodeUndecodable, Op: "decode", Reason: "no order"})
		}
		return bus.DeadLetter(errors.New("the warehouse is\x1b[31m shut"))
	}, bus.Group(m.orders), bus.DeadLetterTopic(m.dead))
	require.NoError(t, err)
	for range 6 {
		<-refused
	}
	require.NoError(t, sub.Shutdown(ctx))
	return m
}

// run runs a dlq command on the dead letters.
func (m *morgue) run(code int, verb string, args ...string) (stdout, stderr string) {
	m.t.Helper()
	at := len(args)
	if verb == "show" {
		at-- // the place is the last argument
	}
	args = slices.Insert(slices.Clone(args), at, m.dead)
	args = append([]string{"dlq", verb, "-bus", m.url, "-wait", wait.String()}, args...)
	got, stdout, stderr := command(m.t, args...)
	require.Equal(m.t, code, got, "%v: %s%s", args, stdout, stderr)
	return stdout, stderr
}

// left returns the offsets of the letters that are not done.
func (m *morgue) left(args ...string) (offsets []int64) {
	m.t.Helper()
	stdout, _ := m.run(exitOK, "list", append([]string{"-json"}, args...)...)
	var lines []letterLine
	require.NoError(m.t, json.Unmarshal([]byte(stdout), &lines))
	for _, l := range lines {
		offsets = append(offsets, l.Offset)
	}
	return offsets
}

// published returns the payloads of a topic, beginning with an offset.
func (m *morgue) published(topic string, from int64) (payloads []string) {
	m.t.Helper()
	_, err := dlq.Scan(m.t.Context(), m.bus, topic, wait, func(r *bus.Record) error {
		if r.Offset >= from {
			payloads = append(payloads, string(r.Key)+string(r.Payload))
		}
		return nil
	})
	require.NoError(m.t, err)
	return payloads
}

func TestDLQListsAndShowsLetters(t *testing.T) {
	t.Parallel()
	onMorgues(t, func(t *testing.T, m *morgue) {
		stdout, _ := m.run(exitOK, "list")
		for _, part := range []string{"AT", "0:0", "0:5", m.orders + "/0:5", "k1", "undecodable", "the warehouse is [31m shut"} {
			require.Contains(t, stdout, part)
		}
		require.NotContains(t, stdout, "\x1b")
		stdout, stderr := m.run(exitOK, "list", "-json", "-limit", "2", "-code", "undecodable")
		require.Contains(t, stderr, "1 more")
		var lines []letterLine
		require.NoError(t, json.Unmarshal([]byte(stdout), &lines))
		require.Len(t, lines, 2)
		require.Equal(t, &origin{m.orders, 0, 1}, lines[0].Origin)
		require.Equal(t, [4]string{"k1", "u1", m.orders, "undecodable"}, [4]string{lines[0].Key, lines[0].UUID, lines[0].Group, lines[0].Code})
		require.WithinDuration(t, time.Now(), lines[0].Time, time.Hour)
		require.Equal(t, 8, lines[0].Bytes)
		require.Empty(t, m.left("-origin", "payments"))
		require.Empty(t, m.left("-consumer", "shipping"))
		require.Len(t, m.left("-since", "1h"), 6)
		require.Empty(t, m.left("-since", time.Now().Add(time.Hour).Format(time.RFC3339)))
		require.Equal(t, []int64{1, 4}, m.left("-at", "0:1,0:4", "-at", "7:1"))

		stdout, _ = m.run(exitOK, "show", "0:3")
		for _, part := range []string{"at      0:3", "key     k1", "origin  " + m.orders + "/0:3", "cause   decode: no order", "header  tenant: blue", "{\n  \"n\": 3\n}"} {
			require.Contains(t, stdout, part)
		}
		stdout, _ = m.run(exitOK, "show", "-payload", "raw", "0:3")
		require.Equal(t, `{"n": 3}`, stdout)
		stdout, _ = m.run(exitOK, "show", "-payload", "hex", "0:3")
		require.Contains(t, stdout, `7b 22 6e 22`)
		stdout, _ = m.run(exitOK, "show", "-json", "0:3")
		require.True(t, json.Valid([]byte(stdout)))
		require.Contains(t, stdout, `"n": 3`)
		for _, nowhere := range []string{"0:6", "0:99", "5:0"} {
			_, stderr = m.run(exitFailed, "show", nowhere)
			require.Contains(t, stderr, "there is no message at "+nowhere)
		}
	})
}

func TestDLQReplaysEachLetterOnce(t *testing.T) {
	t.Parallel()
	onMorgues(t, func(t *testing.T, m *morgue) {
		stdout, _ := m.run(exitOK, "replay", "-all", "-dry-run")
		require.Contains(t, stdout, "0:5")
		require.Len(t, m.left(), 6, "a dry run changes nothing")
		require.Empty(t, m.published(m.orders, 6))

		// Done while an earlier letter is not: a note records it.
		stdout, _ = m.run(exitOK, "replay", "-code", "undecodable")
		require.Equal(t, "replayed 3, failed 0\n", stdout)
		again := []string{`k1{"n": 1}`, `k1{"n": 3}`, `k1{"n": 5}`}
		require.Equal(t, again, m.published(m.orders, 6))
		require.Equal(t, []int64{0, 2, 4}, m.left())
		stdout, _ = m.run(exitOK, "replay", "-code", "undecodable")
		require.Equal(t, "replayed 0, failed 0\n", stdout)
		_, stderr := m.run(exitFailed, "replay", "-at", "0:3,0:0", "-to", "nowhere")
		require.Contains(t, stderr, "0:0: ")
		require.Contains(t, stderr, "1 messages could not be published")
		_, stderr = m.run(exitFailed, "replay", "-at", "0:3,0:0")
		require.Contains(t, stderr, "1 of the 2 messages that -at names")
		require.Equal(t, []int64{2, 4}, m.left())

		// Done in order: the committed offset of the group records it.
		stdout, _ = m.run(exitOK, "replay", "-all", "-limit", "1", "-json")
		require.JSONEq(t, `{"done": 1, "failed": 0, "left": 1}`, stdout)
		m.run(exitOK, "replay", "-all")
		m.run(exitOK, "replay", "-all")
		require.Equal(t, append(again, `k0{"n": 0}`, `k0{"n": 2}`, `k0{"n": 4}`), m.published(m.orders, 6), "each once")
		stdout, _ = m.run(exitOK, "list")
		require.Contains(t, stdout, "no dead letters")
		require.Len(t, m.left("-all"), 6, "nothing is deleted")
		require.Len(t, m.left("-group", "another"), 6)

		var found *bus.Record
		_, err := dlq.Scan(t.Context(), m.bus, m.orders, wait, func(r *bus.Record) error { found = r; return nil })
		require.NoError(t, err)
		require.Equal(t, "u4", found.UUID)
		require.Equal(t, []bus.Header{{Key: "tenant", Value: "blue"}}, found.Headers)
	})
}

func TestDLQReplaysToAnotherTopic(t *testing.T) {
	t.Parallel()
	m := newMorgue(t, "memory://dlq-replay-elsewhere")
	require.NoError(t, m.bus.EnsureTopic(t.Context(), bus.TopicSpec{Name: "repaired", Partitions: 1}))
	require.NoError(t, m.bus.Publish(m.dead, message.NewMessage("no-letter", []byte("x"))))
	_, stderr := m.run(exitFailed, "replay", "-all")
	require.Contains(t, stderr, "0:6: the letter has no origin topic")
	require.Equal(t, []int64{6}, m.left())
	m.run(exitOK, "replay", "-all", "-keep-time", "-to", "repaired")
	require.Equal(t, []string{"x"}, m.published("repaired", 0))
	require.Empty(t, m.left())
}

func TestDLQDropsLetters(t *testing.T) {
	t.Parallel()
	onMorgues(t, func(t *testing.T, m *morgue) {
		_, stderr := m.run(exitUsage, "drop", "-all")
		require.Contains(t, stderr, "-yes")
		m.run(exitOK, "drop", "-all", "-dry-run")
		require.Len(t, m.left(), 6)
		stdout, _ := m.run(exitOK, "drop", "-yes", "-at", "0:0,0:3")
		require.Equal(t, "dropped 2, failed 0\n", stdout)
		require.Equal(t, []int64{1, 2, 4, 5}, m.left())
		m.run(exitOK, "drop", "-yes", "-all")
		require.Empty(t, m.left())
		require.Empty(t, m.published(m.orders, 6))
	})
}

// Another member of the group owns the partition, so the command does nothing and reports
// an error.
func TestDLQReportsPartitionsOfAnotherMember(t *testing.T) {
	t.Parallel()
	m := newMorgue(t, "memory://dlq-beside-another")
	held := make(chan struct{})
	other, err := m.bus.Consume(t.Context(), m.dead, func(ctx context.Context, _ *bus.Delivery) error {
		close(held)
		<-ctx.Done()
		return ctx.Err()
	}, bus.Group("trunkline.dlq."+m.dead))
	require.NoError(t, err)
	<-held
	_, stderr := m.run(exitFailed, "replay", "-wait", "5s", "-all") // it waits all of it
	require.Contains(t, stderr, "partitions [0] were not read")
	require.Empty(t, m.published(m.orders, 6))
	ctx, cancel := context.WithTimeout(context.Background(), time.Millisecond)
	defer cancel()
	_ = other.Shutdown(ctx) // cancels the handler
	<-other.Done()
	require.Len(t, m.left(), 6)
}

func TestDLQUsageErrors(t *testing.T) {
	t.Parallel()
	for name, args := range map[string][]string{
		"nothing": {"dlq"}, "unknown": {"dlq", "mend"}, "no topic": {"dlq", "list"}, "two topics": {"dlq", "list", "a", "b"},
		"unknown flag": {"dlq", "list", "a", "-speed"}, "place": {"dlq", "list", "-at", "5", "a"}, "since": {"dlq", "list", "-since", "x", "a"},
		"limit": {"dlq", "list", "-limit", "-1", "a"}, "wait": {"dlq", "list", "-wait", "0s", "a"},
		"show what": {"dlq", "show", "a"}, "show place": {"dlq", "show", "a", "b"}, "form": {"dlq", "show", "-payload", "x", "a", "0:1"},
		"which": {"dlq", "replay", "a"}, "to itself": {"dlq", "replay", "-all", "-to", "a", "a"}, "drop which": {"dlq", "drop", "-yes", "a"},
		"no log": {"dlq", "list", "-bus", "chan://", "a"}, "scheme": {"dlq", "list", "-bus", "x://", "a"},
	} {
		code, stdout, stderr := command(t, args...)
		require.Equal(t, exitUsage, code, "%s: %s%s", name, stdout, stderr)
		require.NotEmpty(t, stderr, name)
	}
	code, _, stderr := command(t, "dlq", "list", "-bus", "memory://dlq-usage", "no.such.topic")
	require.Equal(t, exitUnavailable, code)
	require.Contains(t, stderr, "no.such.topic")
	for _, c := range []string{"list", "show", "replay", "drop"} {
		code, stdout, _ := command(t, "dlq", c, "-help")
		require.Equal(t, exitOK, code)
		require.Contains(t, stdout, "EXAMPLES")
		require.Contains(t, stdout, "EXIT CODES")
	}
}
