package main

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/trunkline/trunkline/bus"
	"github.com/trunkline/trunkline/rpc"
	"github.com/trunkline/trunkline/testing/kafkatest/kafkatb"
)

type greeting struct {
	Text   string
	Key    string `json:",omitempty"`
	Tenant string `json:",omitempty"`
}

// serveGreeter runs a server on the bus until the test ends.
func serveGreeter(t *testing.T, url string) {
	t.Helper()
	ctx := t.Context()
	b, err := bus.Open(ctx, url)
	require.NoError(t, err)
	t.Cleanup(func() { b.Close() })
	require.NoError(t, b.EnsureTopic(ctx, bus.TopicSpec{Name: "greeter", Partitions: 1}))
	s, err := rpc.NewServer(b, rpc.WithDiscovery(), rpc.WithInstance("greeter-0"))
	require.NoError(t, err)
	require.NoError(t, s.Register(rpc.Service{Name: "greeter", Version: "1.2.3", Methods: []rpc.Method{
		rpc.NewMethod("Greet", func(ctx context.Context, req *struct{ Name string }) (*greeting, error) {
			if req.Name == "" {
				return nil, status.Error(codes.NotFound, "no such\x1b[31m name")
			}
			call, _ := rpc.FromContext(ctx)
			return &greeting{"hello " + req.Name, call.Key, call.Metadata["tenant"]}, nil
		}),
		rpc.NewRawMethod("Raw", func(context.Context, *rpc.Request) (*rpc.Response, error) {
			return &rpc.Response{Body: []byte("no JSON")}, nil
		}),
		rpc.NewMethod("Hang", func(ctx context.Context, _ *struct{}) (*greeting, error) { <-ctx.Done(); return nil, ctx.Err() }),
	}}))
	require.NoError(t, s.Listen("greeter"))
	require.NoError(t, s.Ready(ctx))
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		require.NoError(t, s.Shutdown(ctx))
	})
}

// repeat calls f until it returns true. It fails the test after two minutes.
func repeat(t *testing.T, f func() bool) {
	t.Helper()
	for end := time.Now().Add(2 * time.Minute); !f(); {
		if time.Now().After(end) {
			t.Fatal("the condition was not met within two minutes")
		}
	}
}

func TestServicesAreListedAndCalled(t *testing.T) {
	t.Parallel()
	for name, open := range map[string]func(t *testing.T) string{
		"memory": func(*testing.T) string { return "memory://services-and-call" },
		"kafka":  func(t *testing.T) string { return "kafka://" + kafkatb.Embedded(t).Addrs()[0] },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			url := open(t)
			code, stdout, stderr := command(t, "services", "-bus", url, "-wait", "100ms")
			if name == "memory" { // Kafka takes longer to report that a topic does not exist
				require.Equal(t, exitOK, code, stderr)
				require.Contains(t, stdout, "no service announces itself")
			}
			serveGreeter(t, url)

			call := func(args ...string) (code int, stdout, stderr string) {
				return command(t, append([]string{"call", "-bus", url, "-timeout", "90s"}, args...)...)
			}
			code, stdout, stderr = call("-key", "k", "-header", "tenant=blue", "greeter", "Greet", `{"Name": "Ada"}`)
			require.Equal(t, exitOK, code, stderr)
			require.JSONEq(t, `{"Text": "hello Ada", "Key": "k", "Tenant": "blue"}`, stdout)
			code, stdout, _ = call("greeter", "Raw")
			require.Equal(t, exitOK, code)
			require.Equal(t, "no JSON", stdout)

			code, stdout, stderr = call("greeter", "Greet")
			require.Equal(t, exitFailed, code, "the server answered with an error")
			require.Empty(t, stdout)
			require.Contains(t, stderr, "NotFound")
			code, _, stderr = call("greeter", "Greeet", `{}`)
			require.Equal(t, exitFailed, code)
			require.Contains(t, stderr, "Unimplemented")
			code, _, stderr = call("-timeout", "300ms", "greeter", "Hang")
			require.Equal(t, exitUnavailable, code, "no time left: "+stderr)

			var list []serviceInstance
			repeat(t, func() bool { // discovery starts in the background
				code, stdout, stderr = command(t, "services", "-bus", url, "-json", "-wait", "1s")
				require.Equal(t, exitOK, code, stderr)
				require.NoError(t, json.Unmarshal([]byte(stdout), &list))
				return len(list) > 0 && list[0].State == "serving"
			})
			require.Len(t, list, 1)
			require.Equal(t, "greeter/greeter-0/1.2.3", fmt.Sprintf("%s/%s/%s", list[0].Service, list[0].Instance, list[0].Version))
			require.Equal(t, []string{"greeter"}, list[0].Topics)
			require.EqualValues(t, 2, list[0].Methods[0].Requests)
			require.Equal(t, map[string]uint64{"NotFound": 1}, list[0].Methods[0].Errors)
			repeat(t, func() bool { // a busy machine may answer too late
				code, stdout, stderr = command(t, "services", "-bus", url, "-service", "greeter", "-wait", "1s")
				require.Equal(t, exitOK, code, stderr)
				return strings.Contains(stdout, "serving")
			})
			for _, part := range []string{"SERVICE", "greeter-0", "1.2.3", "serving", "Greet", "NotFound:1", "NotFound: no such [31m name"} {
				require.Contains(t, stdout, part)
			}
			code, stdout, _ = command(t, "services", "-bus", url, "-service", "other", "-wait", "100ms")
			require.Equal(t, exitOK, code)
			require.NotContains(t, stdout, "greeter")
		})
	}
}

// A transport that reports missing listeners fails a call at once. On Kafka the call
// fails because no server announces the topic.
func TestCallWithoutServerIsUnavailable(t *testing.T) {
	t.Parallel()
	memory := "memory://call-without-server"
	kafka := "kafka://" + kafkatb.Embedded(t).Addrs()[0]
	for _, url := range []string{memory, kafka} {
		b, err := bus.Open(t.Context(), url)
		require.NoError(t, err)
		t.Cleanup(func() { b.Close() })
		require.NoError(t, b.EnsureTopic(t.Context(), bus.TopicSpec{Name: "deserted", Partitions: 1}))
	}
	code, _, stderr := command(t, "call", "-bus", memory, "-timeout", "50s", "deserted", "m")
	require.Equal(t, exitUnavailable, code)
	require.Contains(t, stderr, "Unavailable: no server serves")
	code, _, stderr = command(t, "call", "-bus", kafka, "-timeout", "90s", "-fail-fast", "10s", "deserted", "m") // long enough to receive an announcement
	require.Equal(t, exitUnavailable, code)
	require.Contains(t, stderr, "Unavailable: no server of the topic has announced itself")
}

func TestCallAndServicesUsageErrors(t *testing.T) {
	t.Parallel()
	for name, args := range map[string][]string{
		"no method": {"call", "topic"}, "too much": {"call", "a", "b", "{}", "c"}, "no JSON": {"call", "a", "b", "{"},
		"flag takes the method": {"call", "a", "-key", "{}"}, "header": {"call", "-header", "x", "a", "b"}, "timeout": {"call", "-timeout", "-1s", "a", "b"},
		"fail-fast": {"call", "-bus", "memory://x", "-fail-fast", "1ms", "a", "b"}, "scheme": {"call", "-bus", "x://", "a", "b"},
		"reserved header": {"call", "-bus", "memory://", "-header", "trunkline-x=1", "a", "b"},
		"argument":        {"services", "x"}, "wait": {"services", "-wait", "0s"}, "services scheme": {"services", "-bus", "x://"},
	} {
		code, stdout, stderr := command(t, args...)
		require.Equal(t, exitUsage, code, "%s: %s%s", name, stdout, stderr)
		require.NotEmpty(t, stderr)
	}
	for _, c := range []string{"call", "services"} {
		code, stdout, _ := command(t, c, "-help")
		require.Equal(t, exitOK, code)
		require.Contains(t, stdout, "EXAMPLES")
		require.Contains(t, stdout, "EXIT CODES")
	}
}
