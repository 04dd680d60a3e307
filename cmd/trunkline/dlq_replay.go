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
	all := fs.Bool("all", false, "replay every message that is not dealt with")
	to := fs.String("to", "", "the `topic` to publish to; each message's origin without it")
	keepTime := fs.Bool("keep-time", false, "publish with the original's time instead of now; where that is older than the topic keeps messages, the broker may drop them at once")
	dryRun := fs.Bool("dry-run", false, "list what would be replayed, and change nothing")
	return &ffcli.Command{
		Name:       "replay",
		ShortUsage: "trunkline dlq replay [flags] TOPIC",
		ShortHelp:  "Publish dead letters again, to where they come from.",
		LongHelp: `Publishes the messages that are selected, with key, UUID and headers but those that
made them dead letters, in their order. Say which: -at, -origin, -consumer, -code or
-since (they narrow each other down), or -all.

What was published is remembered in -group, so that a second run does not publish it
again; one that is killed, not interrupted, may leave what it published in its last
moments to be published twice. What fails stays, and makes the exit code 1.
What arrives in the topic meanwhile, replayed and failed again, is for the next run.

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
				return usageError("-to is the dead-letter topic itself")
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
	all := fs.Bool("all", false, "drop every message that is not dealt with")
	yes := fs.Bool("yes", false, "yes, give these messages up")
	dryRun := fs.Bool("dry-run", false, "list what would be dropped, and change nothing")
	return &ffcli.Command{
		Name:       "drop",
		ShortUsage: "trunkline dlq drop -yes [flags] TOPIC",
		ShortHelp:  "Give dead letters up: they are not listed or replayed any more.",
		LongHelp: `Counts the messages that are selected as dealt with in -group, as replay does, without
publishing them.

Nothing is deleted: a log is not a queue. The messages stay in the topic until its
retention ends them; other groups, and "list -all", still see them. In -group the
position moves past them. It can't move past a message that is not dealt with: what is
dropped out of turn, behind one, is noted in the topic instead, and the position
follows when that one is dealt with.

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
				return usageError("these messages are not handled any more: look at them with -dry-run, then say -yes")
			}
			return f.work(ctx, j, "dropped", stdout, stderr)
		},
	}
}

// selected sees to it that everything is meant only when that is said.
func selected(s dlq.Selection, all bool, verb string) error {
	if s.Empty() && !all {
		return usageError("say which messages to %s: -at, -origin, -consumer, -code, -since, or -all", verb)
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

// work does the job, and tells how it goes: what fails at once, and a count now and
// then.
func (f *dlqFlags) work(ctx context.Context, j dlq.Job, done string, stdout, stderr io.Writer) error {
	count, told := 0, time.Now()
	j.Each = func(l *dlq.Letter, err error) {
		if count++; err != nil {
			fmt.Fprintf(stderr, "%s: %s\n", l.Place, plain(inOneLine(err).Error()))
		}
		if time.Since(told) > time.Second {
			told = time.Now()
			fmt.Fprintf(stderr, "%d so far\n", count)
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
			return err // what was done before it failed is told all the same
		case printErr != nil:
			return fmt.Errorf("write the summary: %w", printErr)
		case s.Failed > 0:
			return &exitError{exitCheck, fmt.Errorf("%d messages are left as they were", s.Failed)}
		case len(j.Selection.Places) > s.Done+s.Failed+s.Left:
			return &exitError{exitCheck, fmt.Errorf("%d of the %d messages that -at names are not there, are dealt with already, or are ruled out by another flag", len(j.Selection.Places)-s.Done, len(j.Selection.Places))}
		}
		return missing(s)
	})
}
