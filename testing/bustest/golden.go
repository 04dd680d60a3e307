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

// GoldenUpdate is the environment variable that makes [Golden] write files instead of
// comparing with them, when it is 1:
//
//	BUSTEST_UPDATE=1 go test ./billing
const GoldenUpdate = "BUSTEST_UPDATE"

// GoldenOption changes what [Golden] compares.
type GoldenOption func(*goldenForm)

type goldenForm struct {
	topics []string
	ignore map[string]bool
	fields map[string]bool
}

// OnlyTopics leaves the messages of other topics out.
func OnlyTopics(names ...string) GoldenOption {
	return func(f *goldenForm) { f.topics = append(f.topics, names...) }
}

// IgnoreHeaders leaves headers out, besides those that always are: a trace's.
func IgnoreHeaders(names ...string) GoldenOption {
	return func(f *goldenForm) {
		for _, n := range names {
			f.ignore[strings.ToLower(n)] = true
		}
	}
}

// IgnoreFields has the members of JSON payloads with these names, at any depth, stand as
// "…", whatever their value.
func IgnoreFields(names ...string) GoldenOption {
	return func(f *goldenForm) {
		for _, n := range names {
			f.fields[n] = true
		}
	}
}

// Golden compares what was published by others than the test with the file
// testdata/<name>.golden, after all is quiet ([Kit.Settle]). See the function [Golden].
func (k *Kit) Golden(name string, opts ...GoldenOption) {
	k.t.Helper()
	k.Settle()
	Golden(k.t, name, filter(k.rec.Published(""), func(m Message) bool { return !m.byTest }), opts...)
}

// Golden compares messages with the file testdata/<name>.golden in the test's folder, and
// fails the test with the difference. [GoldenUpdate] writes the file instead; read what it
// wrote before you commit it.
//
// The file is the same each time: messages are sorted by topic, and within it by key, and
// those of a key stand in the order given. Left out are the UUID, where the message is, and
// trace headers. A header that is a UUID or a time, and nothing else, stands as <uuid> or
// <time>. JSON is indented and its members sorted; other text stands as it is, and what is
// no text in hexadecimal.
func Golden(t testing.TB, name string, messages []Message, opts ...GoldenOption) {
	t.Helper()
	form := goldenForm{ignore: map[string]bool{"traceparent": true, "tracestate": true, "baggage": true}, fields: map[string]bool{}}
	for _, o := range opts {
		o(&form)
	}
	if !filepath.IsLocal(name) {
		t.Fatalf("bustest: golden %q: the name has to be that of a file within testdata", name)
	}
	got := form.file(filter(messages, func(m Message) bool {
		return len(form.topics) == 0 || slices.Contains(form.topics, m.Topic)
	}))
	path := filepath.Join("testdata", filepath.FromSlash(name)+".golden")
	if os.Getenv(GoldenUpdate) == "1" {
		err := os.MkdirAll(filepath.Dir(path), 0o777)
		if err == nil {
			err = os.WriteFile(path, got, 0o666)
		}
		if err != nil {
			t.Fatalf("bustest: golden: %v", err)
		}
		t.Logf("bustest: wrote %s", path)
		return
	}
	want, err := os.ReadFile(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		t.Fatalf("bustest: %s does not exist: run the test with %s=1 to write this to it:\n%s", path, GoldenUpdate, got)
	case err != nil:
		t.Fatalf("bustest: golden: %v", err)
	}
	want = bytes.ReplaceAll(want, []byte("\r\n"), []byte("\n"))
	if !bytes.Equal(got, want) {
		t.Fatalf("bustest: the messages differ from %s (- is the file, + what was published; %s=1 writes it anew):\n%s",
			path, GoldenUpdate, diff(lines(want), lines(got)))
	}
}

// file is the messages in the form of the file.
func (f goldenForm) file(messages []Message) []byte {
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
				fmt.Fprintf(&b, "header %s: %s\n", name, normal(m.Headers[name]))
			}
		}
		fmt.Fprintf(&b, "%s\n", strings.TrimRight(f.payload(m.Payload), "\n"))
	}
	return b.Bytes()
}

func (f goldenForm) payload(p []byte) string {
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

// hide replaces the members that are to be ignored.
func (f goldenForm) hide(v any) any {
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

// normal is a header's value without what differs each time.
func normal(value string) string {
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

// diff is the lines of both, those that differ marked, and those that are far from any that
// does left out.
func diff(want, got []string) string {
	const around, most = 3, 1 << 22
	if len(want)*len(got) > most {
		return fmt.Sprintf("  the file has %d lines, what was published %d: too many to compare line by line", len(want), len(got))
	}
	// longest[i][j] is how many lines want[i:] and got[j:] have in common.
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
			for n := max(0, i-around); n < min(len(all), i+around+1); n++ {
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
