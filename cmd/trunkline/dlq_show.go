package main

import (
	"bytes"
	"context"
	"encoding/hex"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/peterbourgon/ff/v3/ffcli"

	"github.com/trunkline/trunkline/bus"
	"github.com/trunkline/trunkline/cmd/trunkline/internal/dlq"
)

func dlqShowCommand(stdout io.Writer) *ffcli.Command {
	fs := flag.NewFlagSet("trunkline dlq show", flag.ContinueOnError)
	f := newDLQFlags(fs, time.Minute)
	form := fs.String("payload", "auto", "`form` of the payload: text, json, hex, raw (prints only the payload), or auto")
	return &ffcli.Command{
		Name:       "show",
		ShortUsage: "trunkline dlq show [flags] TOPIC PARTITION:OFFSET",
		ShortHelp:  "Show one dead letter with its headers and payload.",
		LongHelp: `EXAMPLES
  trunkline dlq show orders.dead 0:17
  trunkline dlq show -payload hex orders.dead 0:17
  trunkline dlq show -payload raw orders.dead 0:17 > payload.bin

` + dlqExitHelp,
		FlagSet: fs,
		Exec: func(ctx context.Context, args []string) error {
			if err := topicArgument(args, "PARTITION:OFFSET"); err != nil {
				return err
			}
			at, ok := dlq.ParsePlace(args[1])
			if !ok {
				return usageError("%q must have the form partition:offset", args[1])
			}
			write, ok := payloadForms[*form]
			if !ok {
				return usageError("-payload must be text, json, hex, raw or auto, got %q", *form)
			}
			return f.on(ctx, func(ctx context.Context, b *bus.Bus) error {
				l, err := dlq.Get(ctx, b, args[0], at, *f.wait)
				switch {
				case err != nil && bus.CodeOf(err) == bus.CodeNotFound:
					return &exitError{exitFailed, err}
				case err != nil:
					return err
				case *f.asJSON:
					err = writeLetterJSON(stdout, l)
				case *form == "raw":
					_, err = stdout.Write(l.Payload)
				default:
					writeLetterHead(stdout, l)
					err = write(stdout, l.Payload)
				}
				if err != nil {
					return fmt.Errorf("write the message: %w", err)
				}
				return nil
			})
		},
	}
}

var payloadForms = map[string]func(io.Writer, []byte) error{
	"auto": writeAuto, "text": writeText, "json": writeIndented, "hex": writeHex, "raw": writeText,
}

func writeLetterHead(w io.Writer, l *dlq.Letter) {
	for _, line := range [][2]string{
		{"at", l.Place.String()}, {"time", l.Time.UTC().Format(time.RFC3339Nano)}, {"key", l.Key}, {"uuid", l.UUID},
		{"origin", originOf(l)}, {"group", l.Group}, {"code", l.Code}, {"cause", l.Cause},
	} {
		if line[1] != "" {
			fmt.Fprintf(w, "%-7s %s\n", line[0], plain(line[1]))
		}
	}
	for _, h := range l.Headers {
		fmt.Fprintf(w, "header  %s: %s\n", plain(h.Key), plain(h.Value))
	}
	fmt.Fprintf(w, "payload %d bytes\n\n", len(l.Payload))
}

func writeLetterJSON(w io.Writer, l *dlq.Letter) error {
	type header struct {
		Name  string `json:"name"`
		Value string `json:"value"`
	}
	type shown struct {
		letterLine
		Headers []header        `json:"headers"`
		JSON    json.RawMessage `json:"json,omitempty"`
		Text    *string         `json:"text,omitempty"`
		Base64  []byte          `json:"base64,omitempty"`
	}
	s := shown{letterLine: lineOf(l), Headers: []header{}}
	for _, h := range l.Headers {
		s.Headers = append(s.Headers, header{h.Key, h.Value})
	}
	switch {
	case json.Valid(l.Payload):
		s.JSON = l.Payload
	case utf8.Valid(l.Payload):
		text := string(l.Payload)
		s.Text = &text
	default:
		s.Base64 = l.Payload
	}
	return writeJSON(w, s)
}

// writeAuto writes JSON with indentation, text as it is, and other payloads in
// hexadecimal.
func writeAuto(w io.Writer, payload []byte) error {
	switch {
	case json.Valid(payload):
		return writeIndented(w, payload)
	case readable(payload):
		return writeText(w, payload)
	default:
		return writeHex(w, payload)
	}
}

func readable(b []byte) bool {
	return utf8.Valid(b) && !bytes.ContainsFunc(b, func(r rune) bool { return !unicode.IsPrint(r) && !unicode.IsSpace(r) })
}

func writeText(w io.Writer, payload []byte) error {
	if !bytes.HasSuffix(payload, []byte("\n")) {
		payload = append(bytes.Clone(payload), '\n')
	}
	_, err := w.Write(payload)
	return err
}

func writeIndented(w io.Writer, payload []byte) error {
	var b bytes.Buffer
	if err := json.Indent(&b, payload, "", "  "); err != nil {
		return fmt.Errorf("the payload is not JSON: %w", err)
	}
	return writeText(w, b.Bytes())
}

func writeHex(w io.Writer, payload []byte) error {
	_, err := io.WriteString(w, hex.Dump(payload))
	return err
}
