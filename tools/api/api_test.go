package main

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// repository makes a git repository with a module of three packages, and
// returns its folder and the hash of its only commit.
func repository(t *testing.T) (root, commit string) {
	t.Helper()
	root = t.TempDir()
	put(t, root, "go.mod", "module example.com/scratch\n\ngo 1.26.0\n")
	put(t, root, "scratch.go", `// Package scratch is imported by nobody.
package scratch

type Thing struct{ Name, secret string }

func (*Thing) Do()   {}
func (*Thing) hide() {}

type Alias = Thing

type Doer interface{ Do(); hide() }

const One, two = 1, 2

var Err error

func New() *Thing { return &Thing{} }
`)
	put(t, root, "sub/sub.go", "package sub\n\nfunc F() {}\nfunc G() {}\n")
	put(t, root, "internal/x/x.go", "package x\n\nfunc Hidden() {}\n")
	put(t, root, "examples/demo/demo.go", "package demo\n\nfunc Hidden() {}\n")
	put(t, root, "cmd/tool/main.go", "package main\n\nfunc Hidden() {}\nfunc main() {}\n")
	gitIn(t, root, "init", "-q")
	gitIn(t, root, "add", ".")
	gitIn(t, root, "-c", "user.name=n", "-c", "user.email=e@example.com", "commit", "-q", "-m", "first")
	return root, gitIn(t, root, "rev-parse", "HEAD")
}

func put(t *testing.T, root, path, text string) {
	t.Helper()
	full := filepath.Join(root, path)
	if err := os.MkdirAll(filepath.Dir(full), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(full, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

func gitIn(t *testing.T, root string, args ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "git", args...)
	cmd.Dir = root
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("git %v: %v\n%s", args, err, out)
	}
	return strings.TrimSpace(string(out))
}

// api runs the command and returns its output, with runs of spaces as one.
func api(t *testing.T, root string, want int, args ...string) string {
	t.Helper()
	var out bytes.Buffer
	if code := run(t.Context(), append([]string{"-root", root}, args...), &out, &out); code != want {
		t.Fatalf("exit status %d, want %d\n%s", code, want, out.String())
	}
	var lines []string
	for line := range strings.Lines(out.String()) {
		lines = append(lines, strings.Join(strings.Fields(line), " "))
	}
	return strings.Join(lines, "\n")
}

func contains(t *testing.T, text string, wants ...string) {
	t.Helper()
	for _, want := range wants {
		if !strings.Contains(text, want) {
			t.Errorf("want %q in:\n%s", want, text)
		}
	}
}

func TestNamesCountsPublicPackages(t *testing.T) {
	t.Parallel()
	root, _ := repository(t)
	out := api(t, root, 0, "names")
	contains(t, out,
		"names types funcs consts vars members package",
		"6 3 1 1 1 3 .", // members: Thing.Name, Thing.Do, Doer.Do
		"2 0 2 0 0 0 sub",
		"8 3 3 1 1 3 together")
	for _, hidden := range []string{"internal", "examples", "cmd"} {
		if strings.Contains(out, hidden) {
			t.Errorf("%s is counted:\n%s", hidden, out)
		}
	}
}

func TestDiffShowsBothKindsOfChange(t *testing.T) {
	t.Parallel()
	root, commit := repository(t)
	put(t, root, "sub/sub.go", "package sub\n\nfunc F(int) {}\nfunc H() {}\n")
	put(t, root, "added/added.go", "package added\n\nfunc F() {}\n")
	out := api(t, root, 0, "diff", commit)
	contains(t, out,
		"\nsub\n",
		"incompatible: F: changed from func() to func(int)",
		"incompatible: G: removed",
		"compatible: H: added",
		"\nadded\ncompatible: the package was added",
		"2 incompatible and 2 compatible changes")
	contains(t, api(t, root, 0, "names", commit), "2 0 2 0 0 0 sub", "8 3 3 1 1 3 together")

	if err := os.RemoveAll(filepath.Join(root, "sub")); err != nil {
		t.Fatal(err)
	}
	contains(t, api(t, root, 0, "diff", commit), "\nsub\nincompatible: the package was removed")
}

func TestDiffUsesTheLastTagOfTheRootModule(t *testing.T) {
	t.Parallel()
	root, _ := repository(t)
	contains(t, api(t, root, 0, "diff"), "there is no version tag yet: name a commit")
	for _, tag := range []string{"v0.2.0", "v0.10.0", "testing/bench/v0.99.0"} {
		gitIn(t, root, "tag", tag)
	}
	contains(t, api(t, root, 0, "diff"), "since v0.10.0:", "0 incompatible and 0 compatible changes")
}

func TestErrorsNameTheirCause(t *testing.T) {
	t.Parallel()
	root, _ := repository(t)
	api(t, root, 2)
	contains(t, api(t, root, 2, "count"), `unknown command "count"`)
	contains(t, api(t, root, 1, "diff", "nosuch"), "api: git archive", "nosuch")
	put(t, root, "sub/sub.go", "package sub\n\nfunc F() { return 1 }\nvar X missing\n")
	contains(t, api(t, root, 1, "names"), "undefined: missing")
}
