package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/peterbourgon/ff/v3/ffcli"
	"google.golang.org/grpc/codes"

	"github.com/trunkline/trunkline/bus"
	"github.com/trunkline/trunkline/bus/codec"
	"github.com/trunkline/trunkline/rpc"
)

func callCommand(stdout io.Writer) *ffcli.Command {
	fs := flag.NewFlagSet("trunkline call", flag.ContinueOnError)
	url := fs.String("bus", "kafka://127.0.0.1:9092", "`URL` of the bus")
	key := fs.String("key", "", "the key that orders the call and picks its partition")
	timeout := fs.Duration("timeout", 10*time.Second, "how long the whole may take")
	failFast := fs.Duration("fail-fast", 0, "fail when no server has announced the topic for this `time`, at least 1s; 0 for not")
	var headers headerFlags
	fs.Var(&headers, "header", "`name=value` that travels with the request; may be given again")
	return &ffcli.Command{
		Name:       "call",
		ShortUsage: "trunkline call [flags] TOPIC METHOD [JSON]",
		ShortHelp:  "Make a call with JSON, and print the answer.",
		LongHelp: `The request is the third argument, {} without one. The answer is printed as JSON;
one that is not JSON is printed as it is. What the call fails with is printed to standard error.

EXAMPLES
  trunkline call greeter Greet '{"Name": "Ada"}'
  trunkline call -bus kafka://broker:9092 -key device-7 -timeout 3s core Adopt '{"ID": "device-7"}'
  trunkline call -header tenant=blue -fail-fast 10s greeter Greet

EXIT CODES
  0    it was answered
  1    it was answered with an error
  2    the command line is wrong
  3    it could not be made, or was not answered: no broker, no server, no time left
  130  interrupted before it was done`,
		FlagSet: fs,
		Exec: func(ctx context.Context, args []string) error {
			if len(args) < 2 || len(args) > 3 {
				return usageError("%d arguments are given: name a topic and a method, and the request as JSON in quotes", len(args))
			}
			for _, a := range args[:2] {
				if strings.HasPrefix(a, "-") {
					return usageError("%s comes after an argument: flags go before the topic", a)
				}
			}
			body := []byte("{}")
			if len(args) == 3 {
				body = []byte(args[2])
			}
			if !json.Valid(body) {
				return usageError("the request is not JSON: put it in single quotes")
			}
			if *timeout <= 0 {
				return usageError("-timeout is not over zero")
			}
			opts := []rpc.CallOption{rpc.Key(*key)}
			for _, h := range headers {
				opts = append(opts, rpc.Header(h.name, h.value))
			}
			client := []rpc.ClientOption{rpc.WithName("trunkline-call")}
			if *failFast != 0 {
				client = append(client, rpc.WithFailFast(*failFast))
			}
			bounded, cancel := context.WithTimeout(ctx, *timeout)
			defer cancel()
			answer, err := makeCall(bounded, *url, &rpc.Request{Topic: args[0], Method: args[1], ContentType: codec.JSON.ContentType(), Body: body}, client, opts)
			switch {
			case ctx.Err() != nil:
				return &exitError{exitInterrupted, errors.New("interrupted")}
			case err != nil:
				return callError(err)
			}
			if err := writeAnswer(stdout, answer); err != nil {
				return fmt.Errorf("write the answer: %w", err)
			}
			return nil
		},
	}
}

func makeCall(ctx context.Context, url string, req *rpc.Request, client []rpc.ClientOption, opts []rpc.CallOption) (*rpc.Response, error) {
	b, err := bus.Open(ctx, url)
	if err != nil {
		return nil, err
	}
	defer b.Close()
	c, err := rpc.NewClient(b, client...)
	if err != nil {
		return nil, err
	}
	defer c.Close()
	return c.Invoke(ctx, req, opts...)
}

// callError tells what a server answered from what kept it from answering. Whether the end of
// the time or a stopping server is noticed here first or there is chance: the two mean the same.
func callError(err error) error {
	e, ok := errors.AsType[*rpc.Error](err)
	switch {
	case ok && (e.Code() == codes.DeadlineExceeded || e.Code() == codes.Unavailable):
		return cannotRun(err)
	case ok && e.Remote():
		return &exitError{exitCheck, err}
	case ok && e.Code() == codes.InvalidArgument:
		return &exitError{exitUsage, err}
	default:
		return cannotRun(err)
	}
}

func writeAnswer(w io.Writer, answer *rpc.Response) error {
	if !json.Valid(answer.Body) {
		_, err := w.Write(answer.Body)
		return err
	}
	return writeJSON(w, json.RawMessage(answer.Body))
}

type header struct{ name, value string }

type headerFlags []header

func (h *headerFlags) String() string { return "" }

func (h *headerFlags) Set(s string) error {
	name, value, ok := strings.Cut(s, "=")
	if !ok || name == "" {
		return errors.New("write name=value")
	}
	*h = append(*h, header{name, value})
	return nil
}
