package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"time"

	"github.com/peterbourgon/ff/v3/ffcli"

	"github.com/trunkline/trunkline/bus"
	"github.com/trunkline/trunkline/cmd/trunkline/internal/dlq"
)

func dlqReplayCommand(stdout, stderr io.Writer) *ffcli.Command {
	fs := flag.NewFlagSet("trunkline dlq replay", flag.ContinueOnError)
	f := newDLQFlags(fs, time.Hour)
	f.selects(fs, 0)
	all := fs.Bool("all", false, "replay every message that is not done")
	to := fs.String("to", "", "`topic` to publish to; the default is the origin of each message")
	keepTime := fs.Bool("keep-time", false, "publish with the timestamp of the original instead of the present time; the broker may delete a message at once if its timestamp is older than the retention of the topic")
	dryRun := fs.Bool("dry-run", false, "list the messages that would be replayed, and change nothing")
	return &ffcli.Command{
		Name:       "replay",
		ShortUsage: "trunkline dlq replay [flags] TOPIC",
		ShortHelp:  "Publish dead letters again, to the topics they came from.",
		LongHelp: `Publishes the selected messages in their order, with their key, UUID and headers, and
without the dead-letter headers. Select messages with -at, -origin, -consumer, -code and
-since (a message must match all that are set), or select every message with -all.

The command records each published message as done in -group, so that a second run does
not publish it again. If the command is killed, the messages that it published last may
be published twice by the next run; an interrupt (Ctrl-C) is safe. A message that cannot
be published is not done, and the exit code is 1. Messages that arrive in the topic while
the command runs are left for the next run.

EXAMPLES
  trunkline dlq replay -all -dry-run orders.dead
  trunkline dlq replay -origin orders -code unavailable -since 24h orders.dead
  trunkline dlq replay -at 0:17,2:4 -to orders.repaired orders.dead

` + dlqExitHelp,
		FlagSet: fs,
		Exec: func(ctx context.Context, args []string) error {
			if err := topicArgument(args); err != nil {
				return err
			}
			j, err := f.job(args[0], dlq.Replay)
			if err != nil {
				return err
			}
			j.To, j.KeepTime = *to, *keepTime
			if err := selected(j.Selection, *all, "replay"); err != nil {
				return err
			}
			if *to == args[0] {
				return usageError("-to must not be the dead-letter topic itself, %s", *to)
			}
			if *dryRun {
				return f.dryRun(ctx, j, stdout)
			}
			return f.work(ctx, j, "replayed", stdout, stderr)
		},
	}
}

func dlqDropCommand(stdout, stderr io.Writer) *ffcli.Command {
	fs := flag.NewFlagSet("trunkline dlq drop", flag.ContinueOnError)
	f := newDLQFlags(fs, time.Hour)
	f.selects(fs, 0)
	all := fs.Bool("all", false, "drop every message that is not done")
	yes := fs.Bool("yes", false, "confirm that these messages are not to be handled")
	dryRun := fs.Bool("dry-run", false, "list the messages that would be dropped, and change nothing")
	return &ffcli.Command{
		Name:       "drop",
		ShortUsage: "trunkline dlq drop -yes [flags] TOPIC",
		ShortHelp:  "Record dead letters as done without replaying them.",
		LongHelp: `Records the selected messages as done in -group, as replay does, without publishing
them. list and replay then skip them.

The command deletes nothing: the messages stay in the topic until its retention removes
them, and other groups and "list -all" still see them. It moves the committed offset of
-group past the messages. The offset cannot move past a message that is not done; in that
case the command writes a note to the topic, and the offset follows when the earlier
message is done.

EXAMPLES
  trunkline dlq drop -all -code undecodable -dry-run orders.dead
  trunkline dlq drop -at 0:17 -yes orders.dead

` + dlqExitHelp,
		FlagSet: fs,
		Exec: func(ctx context.Context, args []string) error {
			if err := topicArgument(args); err != nil {
				return err
			}
			j, err := f.job(args[0], dlq.Drop)
			if err != nil {
				return err
			}
			if err := selected(j.Selection, *all, "drop"); err != nil {
				return err
			}
			switch {
			case *dryRun:
				return f.dryRun(ctx, j, stdout)
			case !*yes:
				return usageError("dropped messages are not handled any more: list them with -dry-run, then confirm with -yes")
			}
			return f.work(ctx, j, "dropped", stdout, stderr)
		},
	}
}

// selected returns an error if no flag selects messages and -all is not set.
func selected(s dlq.Selection, all bool, verb string) error {
	if s.Empty() && !all {
		return usageError("no messages are selected to %s: set -at, -origin, -consumer, -code or -since, or -all", verb)
	}
	return nil
}

func (f *dlqFlags) dryRun(ctx context.Context, j dlq.Job, stdout io.Writer) error {
	letters := []*dlq.Letter{}
	j.Verb, j.Each = dlq.Look, func(l *dlq.Letter, _ error) { letters = append(letters, l) }
	return f.on(ctx, func(ctx context.Context, b *bus.Bus) error {
		j.Bus = b
		s, err := j.Run(ctx, finishTime)
		if err != nil {
			return err
		}
		if err := writeLetters(stdout, letters, *f.asJSON); err != nil {
			return fmt.Errorf("write the list: %w", err)
		}
		return missing(s)
	})
}

// work runs the job. It prints each failure at once, a count about every second, and a
// summary.
func (f *dlqFlags) work(ctx context.Context, j dlq.Job, done string, stdout, stderr io.Writer) error {
	count, reported := 0, time.Now()
	j.Each = func(l *dlq.Letter, err error) {
		if count++; err != nil {
			fmt.Fprintf(stderr, "%s: %s\n", l.Place, plain(inOneLine(err).Error()))
		}
		if time.Since(reported) > time.Second {
			reported = time.Now()
			fmt.Fprintf(stderr, "%d messages so far\n", count)
		}
	}
	return f.on(ctx, func(ctx context.Context, b *bus.Bus) error {
		j.Bus = b
		s, err := j.Run(ctx, finishTime)
		var printErr error
		if *f.asJSON {
			printErr = writeJSON(stdout, s)
		} else {
			_, printErr = fmt.Fprintf(stdout, "%s %d, failed %d\n", done, s.Done, s.Failed)
		}
		switch {
		case err != nil:
			return err // after the summary of the work that was done before the failure
		case printErr != nil:
			return fmt.Errorf("write the summary: %w", printErr)
		case s.Failed > 0:
			return &exitError{exitFailed, fmt.Errorf("%d messages could not be published and are not done", s.Failed)}
		case len(j.Selection.Places) > s.Done+s.Failed+s.Left:
			return &exitError{exitFailed, fmt.Errorf("%d of the %d messages that -at names do not exist, are already done, or do not match another flag", len(j.Selection.Places)-s.Done, len(j.Selection.Places))}
		}
		return missing(s)
	})
}
