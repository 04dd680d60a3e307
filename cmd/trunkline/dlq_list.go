package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"text/tabwriter"
	"time"

	"github.com/peterbourgon/ff/v3/ffcli"

	"github.com/trunkline/trunkline/bus"
	"github.com/trunkline/trunkline/cmd/trunkline/internal/dlq"
)

func dlqListCommand(stdout, stderr io.Writer) *ffcli.Command {
	fs := flag.NewFlagSet("trunkline dlq list", flag.ContinueOnError)
	f := newDLQFlags(fs, time.Minute)
	f.selects(fs, 100)
	all := fs.Bool("all", false, "list all messages in the log, done or not, without joining the group")
	return &ffcli.Command{
		Name:       "list",
		ShortUsage: "trunkline dlq list [flags] TOPIC",
		ShortHelp:  "List the dead letters that are not done.",
		LongHelp: `Lists the messages that neither replay nor drop has recorded as done in -group. It joins
the group for a moment to read its committed offsets, and changes nothing.

EXAMPLES
  trunkline dlq list orders.dead
  trunkline dlq list -bus kafka://broker:9092 -origin orders -since 24h -json orders.dead
  trunkline dlq list -all -limit 0 orders.dead

` + dlqExitHelp,
		FlagSet: fs,
		Exec: func(ctx context.Context, args []string) error {
			if err := topicArgument(args); err != nil {
				return err
			}
			j, err := f.job(args[0], dlq.Look)
			if err != nil {
				return err
			}
			if *all {
				j.Group = ""
			}
			letters := []*dlq.Letter{}
			j.Each = func(l *dlq.Letter, _ error) { letters = append(letters, l) }
			return f.on(ctx, func(ctx context.Context, b *bus.Bus) error {
				j.Bus = b
				s, err := j.Run(ctx, finishTime)
				if err != nil {
					return err
				}
				if err := writeLetters(stdout, letters, *f.asJSON); err != nil {
					return fmt.Errorf("write the list: %w", err)
				}
				if s.Left > 0 {
					fmt.Fprintf(stderr, "%d more messages are not listed: -limit 0 lists all\n", s.Left)
				}
				return missing(s)
			})
		},
	}
}

// finishTime is how long leaving the group may take.
const finishTime = 15 * time.Second

// missing returns an error if some partitions could not be read.
func missing(s dlq.Summary) error {
	if len(s.Missing) == 0 {
		return nil
	}
	return &exitError{exitFailed, fmt.Errorf("partitions %v were not read: another member of the group owns them (is another command running?), or -wait is too short", s.Missing)}
}

// letterLine is a dead letter, as the commands print it.
type letterLine struct {
	Partition int32     `json:"partition"`
	Offset    int64     `json:"offset"`
	Time      time.Time `json:"time,omitzero"`
	Key       string    `json:"key,omitempty"`
	UUID      string    `json:"uuid,omitempty"`
	Origin    *origin   `json:"origin,omitempty"`
	Group     string    `json:"group,omitempty"`
	Code      string    `json:"code,omitempty"`
	Cause     string    `json:"cause,omitempty"`
	Bytes     int       `json:"bytes"`
}

type origin struct {
	Topic     string `json:"topic"`
	Partition int32  `json:"partition"`
	Offset    int64  `json:"offset"`
}

func lineOf(l *dlq.Letter) letterLine {
	line := letterLine{Partition: l.Partition, Offset: l.Offset, Time: l.Time, Key: l.Key, UUID: l.UUID, Group: l.Group, Code: l.Code, Cause: l.Cause, Bytes: len(l.Payload)}
	if l.Origin != "" {
		line.Origin = &origin{l.Origin, l.From.Partition, l.From.Offset}
	}
	return line
}

func writeLetters(w io.Writer, letters []*dlq.Letter, asJSON bool) error {
	if asJSON {
		lines := make([]letterLine, len(letters))
		for i, l := range letters {
			lines[i] = lineOf(l)
		}
		return writeJSON(w, lines)
	}
	if len(letters) == 0 {
		_, err := fmt.Fprintln(w, "no dead letters")
		return err
	}
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "AT\tTIME\tKEY\tORIGIN\tGROUP\tCODE\tCAUSE")
	for _, l := range letters {
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%s\t%s\n", l.Place, l.Time.UTC().Format(time.RFC3339), dash(plain(l.Key)), originOf(l),
			dash(plain(l.Group)), dash(plain(l.Code)), dash(shorten(plain(l.Cause), 120)))
	}
	return t.Flush()
}

func originOf(l *dlq.Letter) string {
	if l.Origin == "" {
		return "-"
	}
	return plain(l.Origin) + "/" + l.From.String()
}

// shorten returns the first n characters of s, with an ellipsis if it is longer.
func shorten(s string, n int) string {
	runes := []rune(s)
	if len(runes) <= n {
		return s
	}
	return string(runes[:n-1]) + "…"
}
