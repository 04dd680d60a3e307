package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/peterbourgon/ff/v3/ffcli"

	"github.com/trunkline/trunkline/bus"
	"github.com/trunkline/trunkline/cmd/trunkline/internal/dlq"
)

const dlqExitHelp = `EXIT CODES
  0    success
  1    a message is missing or could not be published
  2    the command line is wrong
  3    the command could not run: no broker, no such topic, a timeout
  130  interrupted by a signal; finished work is recorded`

func dlqCommand(stdout, stderr io.Writer) *ffcli.Command {
	fs := flag.NewFlagSet("trunkline dlq", flag.ContinueOnError)
	c := &ffcli.Command{
		Name:       "dlq",
		ShortUsage: "trunkline dlq <list|show|replay|drop> [flags] TOPIC",
		ShortHelp:  "List, show, replay or drop the messages of a dead-letter topic.",
		LongHelp: `Works on a dead-letter topic (bus.DeadLetterTopic). Its messages, the dead letters, are
messages that a consumer could not handle, with headers for their origin and the error.

These commands cannot delete a message from a log. They record which messages are done
(replayed or dropped) in the consumer group that -group names: every message below the
group's committed offset is done. A message that is done while an earlier one is not is
recorded in a note, a small record in the dead-letter topic itself. These commands skip
notes; other readers of the topic can recognize them by the header
` + dlq.NoteHeader + `.

EXAMPLES
  trunkline dlq list orders.dead
  trunkline dlq show orders.dead 0:17
  trunkline dlq replay -origin orders -code unavailable orders.dead
  trunkline dlq drop -at 0:17 -yes orders.dead

` + dlqExitHelp,
		FlagSet:     fs,
		Subcommands: []*ffcli.Command{dlqListCommand(stdout, stderr), dlqShowCommand(stdout), dlqReplayCommand(stdout, stderr), dlqDropCommand(stdout, stderr)},
	}
	c.Exec = func(_ context.Context, args []string) error { return unknownCommand(c, args) }
	return c
}

// dlqFlags are the flags that the commands share.
type dlqFlags struct {
	url     *string
	wait    *time.Duration
	timeout *time.Duration
	asJSON  *bool
	group   *string

	places   placeFlags
	origin   *string
	consumer *string
	code     *string
	since    *string
	limit    *int
}

func newDLQFlags(fs *flag.FlagSet, timeout time.Duration) *dlqFlags {
	return &dlqFlags{
		url:     fs.String("bus", "kafka://127.0.0.1:9092", "`URL` of the bus"),
		wait:    fs.Duration("wait", 2*time.Second, "how long a partition must be silent to count as read, if the broker does not report its end"),
		timeout: fs.Duration("timeout", timeout, "limit for the whole command"),
		asJSON:  fs.Bool("json", false, "print JSON"),
	}
}

// selects adds the flags that select messages, and the flag of the group.
func (f *dlqFlags) selects(fs *flag.FlagSet, limit int) {
	f.group = fs.String("group", "", "consumer `group` that records which messages are done; the default is trunkline.dlq.TOPIC")
	fs.Var(&f.places, "at", "`partition:offset` of a message; may be repeated, or list several separated by commas")
	f.origin = fs.String("origin", "", "only messages from this `topic`")
	f.consumer = fs.String("consumer", "", "only messages that this `group` could not handle")
	f.code = fs.String("code", "", "only messages with this error `code`, such as undecodable")
	f.since = fs.String("since", "", "only messages with a timestamp at or after this `time`: 2026-01-02T15:04:05Z, or 90m for 90 minutes ago")
	f.limit = fs.Int("limit", limit, "largest `number` of messages; 0 for all")
}

// job returns the job that the flags describe.
func (f *dlqFlags) job(topic string, verb dlq.Verb) (dlq.Job, error) {
	j := dlq.Job{Topic: topic, Group: *f.group, Verb: verb, Quiet: *f.wait, Limit: *f.limit,
		Selection: dlq.Selection{Places: f.places.all, Origin: *f.origin, Group: *f.consumer, Code: *f.code}}
	if *f.limit < 0 {
		return j, usageError("-limit must be at least 0, got %d", *f.limit)
	}
	if j.Group == "" {
		j.Group = "trunkline.dlq." + topic
	}
	if *f.since != "" {
		at, err := time.Parse(time.RFC3339, *f.since)
		if ago, notDuration := time.ParseDuration(*f.since); notDuration == nil && ago >= 0 {
			at, err = time.Now().Add(-ago), nil
		}
		if err != nil {
			return j, usageError("-since must be a time like 2026-01-02T15:04:05Z or a duration like 90m, got %q", *f.since)
		}
		j.Selection.Since = at
	}
	return j, nil
}

// on opens the bus and calls do, within -timeout.
func (f *dlqFlags) on(ctx context.Context, do func(context.Context, *bus.Bus) error) error {
	if *f.wait <= 0 || *f.timeout <= 0 {
		return usageError("-wait and -timeout must be greater than 0, got %v and %v", *f.wait, *f.timeout)
	}
	bounded, cancel := context.WithTimeoutCause(ctx, *f.timeout, timeoutError(*f.timeout))
	defer cancel()
	b, err := openBus(bounded, *f.url)
	if err != nil {
		return cannotRun(err)
	}
	defer b.Close()
	switch caps := b.Capabilities(); {
	case !caps.Replay || !caps.Groups || !caps.Partitions:
		err = &exitError{exitUsage, fmt.Errorf("the transport %s has no log with consumer groups and partitions, so it has no dead-letter topics to process", caps.Name)}
	default:
		if err = b.Ready(bounded); err == nil {
			err = do(bounded, b)
		}
	}
	switch {
	case ctx.Err() != nil:
		return &exitError{exitInterrupted, errors.New("interrupted")}
	case err == nil:
		return nil
	}
	if e, ok := errors.AsType[*exitError](err); ok {
		return e
	}
	return cannotRun(inOneLine(err))
}

// inOneLine returns an error whose text is one line, for errors that errors.Join made.
func inOneLine(err error) error {
	if text := err.Error(); strings.Contains(text, "\n") {
		return fmt.Errorf("%s", strings.ReplaceAll(text, "\n", "; "))
	}
	return err
}

// topicArgument checks that args are TOPIC and the arguments in rest.
func topicArgument(args []string, rest ...string) error {
	want := append([]string{"TOPIC"}, rest...)
	switch {
	case len(args) < len(want):
		return usageError("%s is missing: write %s", want[len(args)], strings.Join(want, " "))
	case len(args) > len(want):
		return usageError("unexpected argument %q: write %s", args[len(want)], strings.Join(want, " "))
	}
	return nil
}

// placeFlags collects the values of -at.
type placeFlags struct{ all map[dlq.Place]bool }

func (p *placeFlags) String() string { return "" }

func (p *placeFlags) Set(s string) error {
	for part := range strings.SplitSeq(s, ",") {
		at, ok := dlq.ParsePlace(part)
		if !ok {
			return errors.New("must have the form partition:offset")
		}
		if p.all == nil {
			p.all = map[dlq.Place]bool{}
		}
		p.all[at] = true
	}
	return nil
}
