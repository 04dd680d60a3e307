package main

import (
	"encoding/json"
	"fmt"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/trunkline/trunkline/testing/kafkatest/kafkatb"
)

func TestFlagsMayStandAnywhere(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct{ args, want []string }{
		"flags first":         {[]string{"call", "-key", "k", "a", "b"}, []string{"call", "-key", "k", "a", "b"}},
		"flags last":          {[]string{"call", "a", "b", "{}", "-key", "k", "-bus=x"}, []string{"call", "-key", "k", "-bus=x", "a", "b", "{}"}},
		"between":             {[]string{"call", "a", "--key=k", "b"}, []string{"call", "--key=k", "a", "b"}},
		"boolean":             {[]string{"dlq", "list", "t", "-json", "-limit", "1"}, []string{"dlq", "list", "-json", "-limit", "1", "t"}},
		"negative number":     {[]string{"call", "a", "b", "-5", "-key", "k"}, []string{"call", "-key", "k", "a", "b", "-5"}},
		"after --":            {[]string{"call", "a", "-key", "k", "--", "-b", "-c"}, []string{"call", "-key", "k", "--", "a", "-b", "-c"}},
		"value like command":  {[]string{"dlq", "list", "-group", "list", "t"}, []string{"dlq", "list", "-group", "list", "t"}},
		"unknown flag":        {[]string{"call", "a", "-speed", "b"}, []string{"call", "-speed", "a", "b"}},
		"unknown subcommand":  {[]string{"dlq", "mend", "-json"}, []string{"dlq", "-json", "mend"}},
		"missing value":       {[]string{"call", "a", "-key"}, []string{"call", "-key", "a"}},
		"lone dash":           {[]string{"call", "a", "b", "-"}, []string{"call", "a", "b", "-"}},
		"nothing":             {nil, nil},
		"flag before command": {[]string{"-h", "demo"}, []string{"-h", "demo"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			require.Equal(t, tc.want, flagsFirst(rootCommand(nil, nil), tc.args))
		})
	}
}

// An error names the mistake, in one line.
func TestUsageErrorsNameTheMistake(t *testing.T) {
	t.Parallel()
	for want, args := range map[string][]string{
		"the topic and the method are missing":  {"call", "-bus", "memory://x"},
		"the method is missing: write call a":   {"call", "a"},
		`unexpected argument "c"`:               {"call", "a", "b", "{}", "c", "-bus", "memory://x"},
		`the request "{" is not JSON`:           {"call", "a", "b", "{"},
		"-timeout must be greater than 0":       {"call", "a", "b", "-timeout", "0s"},
		"-speed":                                {"call", "a", "b", "-speed", "9"},
		`unexpected argument "now"`:             {"services", "now"},
		"TOPIC is missing":                      {"dlq", "list"},
		"PARTITION:OFFSET is missing":           {"dlq", "show", "orders.dead", "-json"},
		`unexpected argument "more"`:            {"dlq", "replay", "orders.dead", "more", "-all"},
		"no messages are selected":              {"dlq", "drop", "orders.dead", "-yes"},
		`unknown command "dlq mend"`:            {"dlq", "mend"},
		"dlq needs a command":                   {"dlq"},
		`unknown command "reply-topics mend"`:   {"reply-topics", "mend"},
		"reply-topics needs a command":          {"reply-topics"},
		`unknown command "calls": the commands`: {"calls"},
	} {
		code, stdout, stderr := command(t, args...)
		require.Equal(t, exitUsage, code, "%v: %s%s", args, stdout, stderr)
		require.Contains(t, stderr, want, args)
		require.Equal(t, 1, strings.Count(stderr, "\n"), stderr)
	}
}

var snakeCase = regexp.MustCompile(`^[a-z][a-z0-9]*(_[a-z0-9]+)*$`)

// checkNames fails if a name in a JSON value is not in snake_case. The members of the
// objects in data are skipped, because their names come from the user: codes, headers.
func checkNames(t *testing.T, text string, data ...string) {
	t.Helper()
	var v any
	require.NoError(t, json.Unmarshal([]byte(text), &v), text)
	names := 0
	var walk func(path string, v any)
	walk = func(path string, v any) {
		switch v := v.(type) {
		case []any:
			for _, e := range v {
				walk(path, e)
			}
		case map[string]any:
			for name, e := range v {
				names++
				require.Regexp(t, snakeCase, name, "in %s of %s", path, text)
				if !strings.Contains(strings.Join(data, " "), name) {
					walk(path+"/"+name, e)
				}
			}
		}
	}
	walk("", v)
	require.NotZero(t, names, "there is nothing to check in %s", text)
}

func TestJSONNamesAreInSnakeCase(t *testing.T) {
	t.Parallel()
	url := "memory://" + kafkatb.Name(t)
	serveGreeter(t, url)
	code, _, stderr := command(t, "call", "greeter", "Greet", "{}", "-bus", url, "-timeout", "90s")
	require.Equal(t, exitFailed, code, stderr) // so that the statistics have an error
	var stdout string
	repeat(t, func() bool { // discovery starts in the background
		code, stdout, stderr = command(t, "services", "-json", "-bus", url, "-wait", "1s")
		require.Equal(t, exitOK, code, stderr)
		return strings.Contains(stdout, `"last_error"`)
	})
	checkNames(t, stdout, "errors")
	require.Contains(t, stdout, `"in_flight"`)

	m := newMorgue(t, url)
	for _, args := range [][]string{
		{"dlq", "list", m.dead, "-json"}, {"dlq", "show", m.dead, "0:1", "-json"}, {"dlq", "drop", m.dead, "-at", "0:1", "-yes", "-json"},
		{"version", "-json"}, {"demo", "-devices", "2", "-cut", "0", "-bus", "chan://", "-json"},
	} {
		if args[0] == "dlq" {
			args = append(args, "-bus", url, "-timeout", "90s")
		}
		code, stdout, stderr := command(t, args...)
		require.Equal(t, exitOK, code, fmt.Sprint(args, stdout, stderr))
		checkNames(t, stdout, "json failed_by_code ended_with")
	}
}
