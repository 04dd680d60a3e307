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
	"github.com/trunkline/trunkline/rpc/replytopics"
)

func replyTopicsCommand(stdout io.Writer) *ffcli.Command {
	fs := flag.NewFlagSet("trunkline reply-topics", flag.ContinueOnError)
	list := replyTopicsVerb("list", "List the reply topics of RPC clients, and whether a client still reads each.",
		`trunkline reply-topics list -bus kafka://127.0.0.1:9092
  trunkline reply-topics list -bus kafka://h1:9092,h2:9092 -wait 10s -json`, replytopics.Find, stdout)
	clean := replyTopicsVerb("clean", "Delete the reply topics of RPC clients that have crashed.",
		`trunkline reply-topics clean -bus kafka://127.0.0.1:9092
  trunkline reply-topics clean -bus kafka://h1:9092,h2:9092 -wait 5m`, replytopics.Clean, stdout)
	c := &ffcli.Command{
		Name:       "reply-topics",
		ShortUsage: "trunkline reply-topics <list|clean> [flags]",
		ShortHelp:  "List or delete the reply topics of RPC clients.",
		LongHelp: `A client deletes its reply topic when it closes; a client that crashes leaves the topic
behind. These commands send a message to the reader of each reply topic. A client that
does not answer within -wait counts as crashed, so -wait must be longer than any outage
that clients are to survive. The commands delete nothing if they could not have received
the answers.

EXAMPLES
  trunkline reply-topics list -bus kafka://127.0.0.1:9092
  trunkline reply-topics clean -bus kafka://127.0.0.1:9092

` + exitHelp,
		FlagSet:     fs,
		Subcommands: []*ffcli.Command{list, clean},
	}
	c.Exec = func(_ context.Context, args []string) error { return unknownCommand(c, args) }
	return c
}

func replyTopicsVerb(name, help, examples string, do func(context.Context, *bus.Bus, time.Duration) ([]replytopics.Topic, error), stdout io.Writer) *ffcli.Command {
	fs := flag.NewFlagSet("trunkline reply-topics "+name, flag.ContinueOnError)
	url := fs.String("bus", "", "`URL` of the bus, such as kafka://host:port,host:port")
	wait := fs.Duration("wait", time.Minute, "how long a client may take to answer before it counts as crashed")
	asJSON := fs.Bool("json", false, "print JSON")
	return &ffcli.Command{
		Name:       name,
		ShortUsage: "trunkline reply-topics " + name + " -bus URL [flags]",
		ShortHelp:  help,
		LongHelp:   "EXAMPLES\n  " + examples + "\n\n" + exitHelp,
		FlagSet:    fs,
		Exec: func(ctx context.Context, args []string) error {
			if err := noArguments(args); err != nil {
				return err
			}
			switch {
			case *url == "":
				return usageError("-bus is missing: set it to the URL of the bus with the reply topics")
			case *wait <= 0:
				return usageError("-wait must be greater than 0, got %v", *wait)
			}
			topics, err := onBus(ctx, *url, func(b *bus.Bus) ([]replytopics.Topic, error) { return do(ctx, b, *wait) })
			// If the command fails, it still prints the topics that it has deleted.
			if printErr := printReplyTopics(stdout, topics, *asJSON); err == nil && printErr != nil {
				return fmt.Errorf("write the topics: %w", printErr)
			}
			switch {
			case ctx.Err() != nil:
				return &exitError{exitInterrupted, fmt.Errorf("interrupted: %w", ctx.Err())}
			case err != nil:
				return cannotRun(err)
			}
			return nil
		},
	}
}

func onBus(ctx context.Context, url string, do func(*bus.Bus) ([]replytopics.Topic, error)) (topics []replytopics.Topic, err error) {
	b, err := openBus(ctx, url)
	if err != nil {
		return nil, err
	}
	defer func() {
		if closeErr := b.Close(); err == nil {
			err = closeErr
		}
	}()
	bounded, cancel := context.WithTimeout(ctx, 15*time.Second)
	defer cancel()
	if err := b.Ready(bounded); err != nil {
		return nil, err
	}
	return do(b)
}

func printReplyTopics(w io.Writer, topics []replytopics.Topic, asJSON bool) error {
	type line struct {
		Topic  string `json:"topic"`
		Client string `json:"client"`
		Alive  bool   `json:"alive"`
	}
	lines := make([]line, len(topics))
	for i, t := range topics {
		lines[i] = line{t.Name, t.Client, t.Alive}
	}
	if asJSON {
		return writeJSON(w, lines)
	}
	if len(lines) == 0 {
		return nil
	}
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(tw, "TOPIC\tCLIENT\tALIVE")
	for _, l := range lines {
		fmt.Fprintf(tw, "%s\t%s\t%t\n", l.Topic, l.Client, l.Alive)
	}
	return tw.Flush()
}
