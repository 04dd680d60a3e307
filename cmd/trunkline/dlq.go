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
  0    all is well
  1    something could not be done: a message that is not there, or can't be published
  2    the command line is wrong
  3    it could not be run: no broker, no such topic, no time left
  130  interrupted before it was done; what was done is remembered`

func dlqCommand(stdout, stderr io.Writer) *ffcli.Command {
	fs := flag.NewFlagSet("trunkline dlq", flag.ContinueOnError)
	return &ffcli.Command{
		Name:       "dlq",
		ShortUsage: "trunkline dlq <list|show|replay|drop> [flags] TOPIC",
		ShortHelp:  "Look into a dead-letter topic, and work it off.",
		LongHelp: `Works on a topic that bus.DeadLetterTopic names: messages that could not be handled,
with where they come from and why.

A log forgets nothing before its retention says so. What is dealt with, replayed or
dropped, is therefore remembered beside it, in the consumer group that -group names:
everything below the group's position. What is dealt with out of turn, while a message
before it is not, is noted in a small record in the dead-letter topic itself, which
these commands pass over; whoever else reads the topic knows it by its header
` + dlq.NoteHeader + `.

EXAMPLES
  trunkline dlq list orders.dead
  trunkline dlq show orders.dead 0:17
  trunkline dlq replay -origin orders -code unavailable orders.dead
  trunkline dlq drop -at 0:17 -yes orders.dead

` + dlqExitHelp,
		FlagSet:     fs,
		Subcommands: []*ffcli.Command{dlqListCommand(stdout, stderr), dlqShowCommand(stdout), dlqReplayCommand(stdout, stderr), dlqDropCommand(stdout, stderr)},
		Exec: func(_ context.Context, args []string) error {
			if len(args) > 0 {
				return usageError("dlq: unknown command %q: there are list, show, replay, drop", args[0])
			}
			return usageError("dlq: say what to do: list, show, replay or drop")
		},
	}
}

// dlqFlags are what the commands have in common.
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
		wait:    fs.Duration("wait", 2*time.Second, "how long a partition of which the broker says nothing has to be quiet to be taken for read"),
		timeout: fs.Duration("timeout", timeout, "how long the whole may take"),
		asJSON:  fs.Bool("json", false, "print JSON"),
	}
}

// selects adds the flags that say which messages, and the group.
func (f *dlqFlags) selects(fs *flag.FlagSet, limit int) {
	f.group = fs.String("group", "trunkline.dlq", "consumer `group` that remembers what is dealt with")
	fs.Var(&f.places, "at", "`partition:offset` of one message; may be given again, or several with commas between them")
	f.origin = fs.String("origin", "", "only messages that come from this `topic`")
	f.consumer = fs.String("consumer", "", "only messages that this `group` could not handle")
	f.code = fs.String("code", "", "only messages with this error `code`, such as undecodable")
	f.since = fs.String("since", "", "only messages whose own time is not before this `time`: 2026-01-02T15:04:05Z, or 90m for as long ago")
	f.limit = fs.Int("limit", limit, "how many messages at the most; 0 for all")
}

// job makes what the flags say.
func (f *dlqFlags) job(topic string, verb dlq.Verb) (dlq.Job, error) {
	j := dlq.Job{Topic: topic, Group: *f.group, Verb: verb, Quiet: *f.wait, Limit: *f.limit,
		Selection: dlq.Selection{Places: f.places.all, Origin: *f.origin, Group: *f.consumer, Code: *f.code}}
	switch {
	case *f.group == "":
		return j, usageError("-group is empty")
	case *f.limit < 0:
		return j, usageError("-limit is below zero")
	}
	if *f.since != "" {
		at, err := time.Parse(time.RFC3339, *f.since)
		if ago, notDuration := time.ParseDuration(*f.since); notDuration == nil && ago >= 0 {
			at, err = time.Now().Add(-ago), nil
		}
		if err != nil {
			return j, usageError("-since %s is neither a time like 2026-01-02T15:04:05Z nor a duration like 90m", *f.since)
		}
		j.Selection.Since = at
	}
	return j, nil
}

// on opens the bus, and calls do under the time-out.
func (f *dlqFlags) on(ctx context.Context, do func(context.Context, *bus.Bus) error) error {
	if *f.wait <= 0 || *f.timeout <= 0 {
		return usageError("-wait and -timeout have to be over zero")
	}
	bounded, cancel := context.WithTimeoutCause(ctx, *f.timeout, fmt.Errorf("not done within %v (see -timeout)", *f.timeout))
	defer cancel()
	b, err := bus.Open(bounded, *f.url)
	if err != nil {
		return cannotRun(err)
	}
	defer b.Close()
	switch caps := b.Capabilities(); {
	case !caps.Replay || !caps.Groups || !caps.Partitions:
		err = &exitError{exitUsage, fmt.Errorf("%s keeps no log with groups and partitions, so there is nothing to look into", caps.Name)}
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

// inOneLine makes one line of an error that was joined.
func inOneLine(err error) error {
	if text := err.Error(); strings.Contains(text, "\n") {
		return fmt.Errorf("%s", strings.ReplaceAll(text, "\n", "; "))
	}
	return err
}

// topicArgument checks for TOPIC, and the arguments after it.
func topicArgument(args []string, rest ...string) error {
	if len(args) == 0 {
		return usageError("name the dead-letter topic")
	}
	for _, a := range args {
		if strings.HasPrefix(a, "-") {
			return usageError("%s comes after an argument: flags go before the topic", a)
		}
	}
	if len(args) != 1+len(rest) {
		return usageError("%d arguments are given: write %s", len(args), strings.Join(append([]string{"TOPIC"}, rest...), " "))
	}
	return nil
}

// placeFlags gathers -at.
type placeFlags struct{ all map[dlq.Place]bool }

func (p *placeFlags) String() string { return "" }

func (p *placeFlags) Set(s string) error {
	for part := range strings.SplitSeq(s, ",") {
		at, ok := dlq.ParsePlace(part)
		if !ok {
			return errors.New("write partition:offset")
		}
		if p.all == nil {
			p.all = map[dlq.Place]bool{}
		}
		p.all[at] = true
	}
	return nil
}
