package bustest

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// goldenUpdate is the environment variable that makes Golden write files, when it is 1.
const goldenUpdate = "BUSTEST_UPDATE"

// GoldenOption configures one comparison of [Golden].
type GoldenOption func(*goldenFormat)

type goldenFormat struct {
	topics []string
	ignore map[string]bool
	fields map[string]bool
}

// OnlyTopics limits the comparison to the messages of these topics.
func OnlyTopics(names ...string) GoldenOption {
	return func(f *goldenFormat) { f.topics = append(f.topics, names...) }
}

// IgnoreHeaders leaves these headers out. Golden always leaves out trace headers.
func IgnoreHeaders(names ...string) GoldenOption {
	return func(f *goldenFormat) {
		for _, n := range names {
			f.ignore[strings.ToLower(n)] = true
		}
	}
}

// IgnoreFields writes "…" instead of the value of JSON object members with these names, at any
// depth.
func IgnoreFields(names ...string) GoldenOption {
	return func(f *goldenFormat) {
		for _, n := range names {
			f.fields[n] = true
		}
	}
}

// Golden waits until every message is acknowledged, see [Kit.WaitIdle]. Then it compares the
// published messages, without those that the test itself published, with the file
// testdata/<name>.golden. See the function [Golden].
func (k *Kit) Golden(name string, opts ...GoldenOption) {
	k.t.Helper()
	k.WaitIdle()
	Golden(k.t, name, filter(k.rec.Published(""), func(m Message) bool { return !m.byTest }), opts...)
}

// Golden compares messages with the file testdata/<name>.golden in the test's folder. It fails the
// test with the difference if they differ, or if there is no such file. To write the file instead
// of comparing, set the environment variable BUSTEST_UPDATE to 1, and check the new file before
// you commit it:
//
//	BUSTEST_UPDATE=1 go test ./billing
//
// The text of the messages is the same in every run. Messages are sorted by topic and then by key;
// messages with the same key keep their order. UUID, partition, offset and trace headers are left
// out. A header value that is a UUID or a time becomes <uuid> or <time>. JSON is indented, with
// its members sorted. Other text is unchanged. A payload that is not text is in hexadecimal.
func Golden(t testing.TB, name string, messages []Message, opts ...GoldenOption) {
	t.Helper()
	format := goldenFormat{ignore: map[string]bool{"traceparent": true, "tracestate": true, "baggage": true}, fields: map[string]bool{}}
	for _, o := range opts {
		o(&format)
	}
	if !filepath.IsLocal(name) {
		t.Fatalf("bustest: golden file %q: the name must be a path within testdata", name)
	}
	got := format.file(filter(messages, func(m Message) bool {
		return len(format.topics) == 0 || slices.Contains(format.topics, m.Topic)
	}))
	path := filepath.Join("testdata", filepath.FromSlash(name)+".golden")
	if os.Getenv(goldenUpdate) == "1" {
		err := os.MkdirAll(filepath.Dir(path), 0o777)
		if err == nil {
			err = os.WriteFile(path, got, 0o666)
		}
		if err != nil {
			t.Fatalf("bustest: golden file %q: %v", name, err)
		}
		t.Logf("bustest: wrote %s", path)
		return
	}
	want, err := os.ReadFile(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		t.Fatalf("bustest: %s does not exist: run the test with %s=1 to create it with this content:\n%s", path, goldenUpdate, got)
	case err != nil:
		t.Fatalf("bustest: golden file %q: %v", name, err)
	}
	want = bytes.ReplaceAll(want, []byte("\r\n"), []byte("\n"))
	if !bytes.Equal(got, want) {
		t.Fatalf("bustest: the messages differ from %s (- is the file, + the messages; %s=1 rewrites the file):\n%s",
			path, goldenUpdate, diff(lines(want), lines(got)))
	}
}

// file returns the content of a golden file for the messages.
func (f goldenFormat) file(messages []Message) []byte {
	sorted := slices.Clone(messages)
	slices.SortStableFunc(sorted, func(a, b Message) int {
		return cmp.Or(cmp.Compare(a.Topic, b.Topic), cmp.Compare(a.Key, b.Key))
	})
	var b bytes.Buffer
	for i, m := range sorted {
		if i > 0 {
			b.WriteByte('\n')
		}
		fmt.Fprintf(&b, "topic %s\n", m.Topic)
		if m.Key != "" {
			fmt.Fprintf(&b, "key %s\n", m.Key)
		}
		for _, name := range slices.Sorted(maps.Keys(m.Headers)) {
			if !f.ignore[strings.ToLower(name)] {
				fmt.Fprintf(&b, "header %s: %s\n", name, stableValue(m.Headers[name]))
			}
		}
		fmt.Fprintf(&b, "%s\n", strings.TrimRight(f.payload(m.Payload), "\n"))
	}
	return b.Bytes()
}

func (f goldenFormat) payload(p []byte) string {
	var v any
	if decode(p, &v) == nil {
		var b bytes.Buffer
		e := json.NewEncoder(&b)
		e.SetEscapeHTML(false)
		e.SetIndent("", "  ")
		if e.Encode(f.hide(v)) == nil {
			return b.String()
		}
	}
	if readable(p) {
		return string(p)
	}
	return fmt.Sprintf("0x%x", p)
}

// hide replaces the values of the ignored object members.
func (f goldenFormat) hide(v any) any {
	switch v := v.(type) {
	case map[string]any:
		for name, member := range v {
			if f.fields[name] {
				v[name] = "…"
				continue
			}
			v[name] = f.hide(member)
		}
	case []any:
		for i := range v {
			v[i] = f.hide(v[i])
		}
	}
	return v
}

var (
	uuidForm = regexp.MustCompile(`(?i)^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$`)
	timeForm = regexp.MustCompile(`^\d{4}-\d{2}-\d{2}[T ]\d{2}:\d{2}:\d{2}(\.\d+)?( ?(Z|UTC|[+-]\d{2}:?\d{2}))?$`)
)

// stableValue replaces a header value that differs in every run.
func stableValue(value string) string {
	switch {
	case uuidForm.MatchString(value):
		return "<uuid>"
	case timeForm.MatchString(value):
		return "<time>"
	default:
		return strings.ReplaceAll(value, "\n", "⏎")
	}
}

func lines(b []byte) []string { return strings.Split(strings.TrimSuffix(string(b), "\n"), "\n") }

// diff returns the lines that differ, marked with - and +, and a few lines around them.
func diff(want, got []string) string {
	const context, limit = 3, 1 << 22
	if len(want)*len(got) > limit {
		return fmt.Sprintf("  the file has %d lines, the messages have %d: too many to compare line by line", len(want), len(got))
	}
	// longest[i][j] is the length of the longest common subsequence of want[i:] and got[j:].
	longest := make([][]int, len(want)+1)
	for i := range longest {
		longest[i] = make([]int, len(got)+1)
	}
	for i := len(want) - 1; i >= 0; i-- {
		for j := len(got) - 1; j >= 0; j-- {
			if want[i] == got[j] {
				longest[i][j] = longest[i+1][j+1] + 1
			} else {
				longest[i][j] = max(longest[i+1][j], longest[i][j+1])
			}
		}
	}
	var all []string
	for i, j := 0, 0; i < len(want) || j < len(got); {
		switch {
		case i < len(want) && j < len(got) && want[i] == got[j]:
			all = append(all, "  "+want[i])
			i, j = i+1, j+1
		case j == len(got) || i < len(want) && longest[i+1][j] >= longest[i][j+1]:
			all = append(all, "- "+want[i])
			i++
		default:
			all = append(all, "+ "+got[j])
			j++
		}
	}
	near := make([]bool, len(all))
	for i, line := range all {
		if line[0] != ' ' {
			for n := max(0, i-context); n < min(len(all), i+context+1); n++ {
				near[n] = true
			}
		}
	}
	var b strings.Builder
	for i, line := range all {
		switch {
		case near[i]:
			b.WriteString(line + "\n")
		case i == 0 || near[i-1]:
			b.WriteString("  …\n")
		}
	}
	return strings.TrimSuffix(b.String(), "\n")
}
