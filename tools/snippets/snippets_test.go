package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// snippets runs the command on a module with the Markdown text in its docs folder.
func snippets(t *testing.T, readme string, want int) (output string) {
	t.Helper()
	root := t.TempDir()
	for path, text := range map[string]string{
		"go.mod":       "module example.com/scratch\n\ngo 1.26.0\n",
		"scratch.go":   "// Package scratch is imported by snippets.\npackage scratch\n\n// Answer returns 42.\nfunc Answer() (int, error) { return 42, nil }\n",
		"README.md":    "intro\n",
		"docs/more.md": strings.ReplaceAll(readme, "'''", "```"),
	} {
		full := filepath.Join(root, path)
		if err := os.MkdirAll(filepath.Dir(full), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(full, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	var out bytes.Buffer
	if code := run(t.Context(), []string{"-root", root}, &out, &out); code != want {
		t.Fatalf("exit status %d, want %d\n%s", code, want, out.String())
	}
	return out.String()
}

func TestAcceptsWhatWorks(t *testing.T) {
	t.Parallel()
	for name, readme := range map[string]string{
		"a file":                        "'''go\npackage main\n\nimport \"example.com/scratch\"\n\nfunc main() { _, _ = scratch.Answer() }\n'''\n",
		"declarations":                  "'''go\nimport \"example.com/scratch\"\n\nfunc two() (int, error) {\n\treturn scratch.Answer()\n}\n'''\n",
		"statements with a hidden part": "<!-- snippet\nimport \"example.com/scratch\"\nvar ready bool\n-->\n\n'''go\nn, err := scratch.Answer()\nif err != nil {\n\treturn err\n}\nvar unused = ready\n'''\n",
		"a hidden part on one line":     "<!-- snippet: import \"fmt\" -->\n'''go\nfmt.Println(1)\n'''\n",
		"a return from a literal":       "'''go\nf := func() (int, int) { return 1, 2 }\n'''\n",
		"indented in a list":            "1. first\n\n   '''go\n   x := `\n   `\n   '''\n",
		"skipped":                       "<!-- snippet skip: a sketch -->\n'''go\nnot Go at all\n'''\n",
		"other languages":               "'''text\nwhatever {\n'''\n\n'''sh\nexit 1\n'''\n",
		"a command":                     "<!-- run -->\n'''sh\ntest -f go.mod\n'''\n",
		"a program":                     "<!-- run: one -->\n'''go\npackage main\n\nimport \"fmt\"\n\nfunc main() { fmt.Println(\"one\") }\n'''\n",
		"a console":                     "<!-- run -->\n'''console\n$ echo one \\\n  two\none two\n$ test -f go.mod\n'''\n",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			snippets(t, readme, 0)
		})
	}
}

func TestReportsTheLineOfWhatFails(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct{ readme, want string }{
		"an undefined name":    {"intro\n\n'''go\nx := 1\nmissing(x)\n'''\n", "docs/more.md:5:1: undefined: missing"},
		"in a declaration":     {"'''go\nfunc f() int {\n\treturn \"\"\n}\n'''\n", "docs/more.md:3:9: cannot use"},
		"in a file":            {"'''go\npackage main\n\nfunc main() { nope() }\n'''\n", "docs/more.md:4:15: undefined: nope"},
		"in the hidden part":   {"<!-- snippet\nimport \"os\"\n-->\n'''go\nx := 1\n'''\n", "docs/more.md:2:8: \"os\" imported and not used"},
		"a syntax error":       {"'''go\nx := 1\nif {\n'''\n", "docs/more.md:3"},
		"several":              {"'''go\na()\n'''\n\n'''go\nb()\n'''\n", "docs/more.md:6:1: undefined: b"},
		"two results":          {"'''go\nreturn 1, nil\n'''\n", "docs/more.md:2: statements may return one error"},
		"a hidden part unused": {"<!-- snippet: import \"fmt\" -->\n'''go\npackage main\nfunc main() {}\n'''\n", "docs/more.md:1: a snippet with a package clause must be a whole file"},
		"a hidden part open":   {"<!-- snippet: func f() { -->\n'''go\nx := 1\n'''\n", "docs/more.md:1: the hidden part of a snippet must be whole"},
		"a skip unexplained":   {"<!-- snippet skip -->\n'''go\nx\n'''\n", "docs/more.md:1: snippet skip has no reason"},
		"an open fence":        {"\n'''go\nx := 1\n", "docs/more.md:2: the code block has no end"},
		"an open comment":      {"<!-- snippet\n", "docs/more.md:1: the comment has no end"},
		"a failing command":    {"<!-- run -->\n'''sh\necho why\nfalse\ntrue\n'''\n", "docs/more.md:3: exit status 1\nwhy"},
		"nothing to run":       {"<!-- run -->\n'''console\nfalse\n'''\n", "docs/more.md:3: a console block to run has no line"},
		"running text":         {"<!-- run -->\n'''text\nx := 1\n'''\n", "docs/more.md:1: a run comment must be before"},
		"no output":            {"<!-- run -->\n'''go\nx := 1\n'''\n", "docs/more.md:1: a run comment before Go must have"},
		"other output":         {"<!-- run: two -->\n'''go\npackage main\n\nfunc main() { print(\"one\") }\n'''\n", "the program printed \"\", not \"two\""},
		"a program that fails": {"<!-- run: one -->\n'''go\npackage main\n\nfunc main() { panic(\"why\") }\n'''\n", "panic: why"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if out := snippets(t, tt.readme, 1); !strings.Contains(out, tt.want) {
				t.Fatalf("want %q in:\n%s", tt.want, out)
			}
		})
	}
}

func TestFailsWithoutMarkdownFiles(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	if code := run(t.Context(), []string{"-root", t.TempDir()}, &out, &out); code != 1 {
		t.Fatalf("exit status %d, want 1\n%s", code, out.String())
	}
}
