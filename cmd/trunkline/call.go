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

	"github.com/trunkline/trunkline/bus/codec"
	"github.com/trunkline/trunkline/rpc"
)

func callCommand(stdout io.Writer) *ffcli.Command {
	fs := flag.NewFlagSet("trunkline call", flag.ContinueOnError)
	url := fs.String("bus", "kafka://127.0.0.1:9092", "`URL` of the bus")
	key := fs.String("key", "", "`key` of the request: calls with the same key are handled in order, in one partition")
	timeout := fs.Duration("timeout", 10*time.Second, "limit for the whole command")
	failFast := fs.Duration("fail-fast", 0, "fail if no server announces the topic within this `time`, at least 1s; 0 waits until -timeout")
	var headers headerFlags
	fs.Var(&headers, "header", "`name=value` header of the request; may be repeated")
	return &ffcli.Command{
		Name:       "call",
		ShortUsage: "trunkline call [flags] TOPIC METHOD [JSON]",
		ShortHelp:  "Make an RPC call with a JSON request, and print the response.",
		LongHelp: `The request is the JSON argument; without it, the request is {}. A JSON response is
printed with indentation, any other response as it is. Errors go to standard error.

EXAMPLES
  trunkline call greeter Greet '{"Name": "Ada"}'
  trunkline call core Adopt '{"ID": "device-7"}' -bus kafka://broker:9092 -key device-7 -timeout 3s
  trunkline call -header tenant=blue -fail-fast 10s greeter Greet

EXIT CODES
  0    the server returned a response
  1    the server returned an error
  2    the command line is wrong
  3    no response: no broker, no server, or the timeout expired
  130  interrupted by a signal`,
		FlagSet: fs,
		Exec: func(ctx context.Context, args []string) error {
			if err := callArguments(args); err != nil {
				return err
			}
			body := []byte("{}")
			if len(args) == 3 {
				body = []byte(args[2])
			}
			if !json.Valid(body) {
				return usageError("the request %q is not JSON: put JSON in single quotes", shorten(args[2], 40))
			}
			if *timeout <= 0 {
				return usageError("-timeout must be greater than 0, got %v", *timeout)
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
			if err := writeResponse(stdout, answer); err != nil {
				return fmt.Errorf("write the response: %w", err)
			}
			return nil
		},
	}
}

// callArguments checks for TOPIC METHOD [JSON].
func callArguments(args []string) error {
	switch len(args) {
	case 0:
		return usageError("the topic and the method are missing: write call TOPIC METHOD [JSON]")
	case 1:
		return usageError("the method is missing: write call %s METHOD [JSON]", args[0])
	case 2, 3:
		return nil
	default:
		return usageError("unexpected argument %q after the request: write call TOPIC METHOD [JSON], with the JSON in single quotes", args[3])
	}
}

func makeCall(ctx context.Context, url string, req *rpc.Request, client []rpc.ClientOption, opts []rpc.CallOption) (*rpc.Response, error) {
	b, err := openBus(ctx, url)
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

// callError returns the error of a call with its exit code. The code is exitFailed only if the
// server returned the error. A timeout or a shutdown of the server always counts as "no
// response", because the client or the server may be the first to detect it.
func callError(err error) error {
	e, ok := errors.AsType[*rpc.Error](err)
	switch {
	case ok && (e.Code() == codes.DeadlineExceeded || e.Code() == codes.Unavailable):
		return cannotRun(err)
	case ok && e.Remote():
		return &exitError{exitFailed, err}
	case ok && e.Code() == codes.InvalidArgument:
		return &exitError{exitUsage, err}
	default:
		return cannotRun(err)
	}
}

func writeResponse(w io.Writer, answer *rpc.Response) error {
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
		return errors.New("must have the form name=value")
	}
	*h = append(*h, header{name, value})
	return nil
}
