package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

// variable is the environment variable that names the active mutant.
const variable = "TRUNKLINE_MUTANT"

// helpers is the content of a file that mutate adds to the mutated package.
const helpers = `package %s

import mutantOS_ "os"

var mutantID_ = func() (id int) {
	for _, digit := range mutantOS_.Getenv("` + variable + `") {
		id = id*10 + int(digit-'0')
	}
	return id
}()

// mutantActive_ reports whether the mutant is the active one.
func mutantActive_(id int) bool { return id == mutantID_ }

// mutantNegate_ returns x, or -x if the mutant is active.
func mutantNegate_[T ~int | ~int8 | ~int16 | ~int32 | ~int64 | ~uint | ~uint8 | ~uint16 | ~uint32 | ~uint64 | ~uintptr | ~float32 | ~float64](id int, x T) T {
	if id == mutantID_ {
		return -x
	}
	return x
}

// mutantChoose_ returns x, or y if the mutant is active.
func mutantChoose_[T any](id int, x, y T) T {
	if id == mutantID_ {
		return y
	}
	return x
}
`

// A build is the package with all mutants in it, and the tests that run with it.
type build struct {
	root, dir string
	pkg       *source
	tests     []string // patterns of packages
	binaries  []binary
}

// A binary is the compiled tests of one package.
type binary struct{ pattern, path, dir string }

// compile builds the tests with the mutants, and returns the mutants that the
// compiler accepts.
func (b *build) compile(ctx context.Context, mutants []*mutant) ([]*mutant, error) {
	for range 20 {
		overlay, err := b.overlay(mutants)
		if err != nil {
			return nil, err
		}
		out, err := b.goCommand(ctx, "build", "-overlay", overlay, b.pkg.PkgPath)
		if err == nil {
			return mutants, b.link(ctx, overlay)
		}
		n := len(mutants)
		if mutants = b.without(mutants, string(out)); len(mutants) == n {
			return nil, fmt.Errorf("the mutants do not compile: %w\n%s", err, out)
		}
	}
	return nil, errors.New("the mutants do not compile")
}

// without returns the mutants that are not on a line with an error of the compiler.
func (b *build) without(mutants []*mutant, compiler string) []*mutant {
	bad := make(map[string]bool)
	for line := range strings.Lines(compiler) {
		if file, rest, ok := strings.Cut(strings.TrimSpace(line), ".go:"); ok {
			number, _, _ := strings.Cut(rest, ":")
			bad[filepath.Base(file)+".go:"+number] = true
		}
	}
	var kept []*mutant
	for _, m := range mutants {
		if !bad[filepath.Base(m.at.Filename)+":"+strconv.Itoa(m.at.Line)] {
			kept = append(kept, m)
		}
	}
	return kept
}

// overlay writes the mutated files and returns the file that names them to the
// go command.
func (b *build) overlay(mutants []*mutant) (string, error) {
	inserts := make(map[string][]insert)
	for _, m := range mutants {
		inserts[m.at.Filename] = append(inserts[m.at.Filename], m.inserts...)
	}
	replace := make(map[string]string)
	put := func(original, text string) error {
		file := filepath.Join(b.dir, fmt.Sprintf("%d.go", len(replace)))
		replace[original] = file
		return os.WriteFile(file, []byte(text), 0o600)
	}
	for file, all := range inserts {
		if err := put(file, apply(b.pkg.texts[file], all)); err != nil {
			return "", err
		}
	}
	home := filepath.Dir(b.pkg.CompiledGoFiles[0])
	if err := put(filepath.Join(home, "mutant_helpers.go"), fmt.Sprintf(helpers, b.pkg.Name)); err != nil {
		return "", err
	}
	raw, err := json.Marshal(map[string]any{"Replace": replace})
	if err != nil {
		return "", err
	}
	overlay := filepath.Join(b.dir, "overlay.json")
	return overlay, os.WriteFile(overlay, raw, 0o600)
}

// apply returns text with the inserts. The inserts are in the order of a walk of the
// syntax tree: an outer node comes before its inner nodes.
func apply(text []byte, inserts []insert) string {
	var opening, closing []insert
	for _, in := range inserts {
		if in.end {
			closing = append(closing, in)
		} else {
			opening = append(opening, in)
		}
	}
	// At the same offset, the insert of an outer node opens first and closes last.
	// Inserts that close come before inserts that open.
	slices.Reverse(closing)
	all := slices.Concat(closing, opening)
	slices.SortStableFunc(all, func(a, b insert) int { return a.offset - b.offset })
	var out bytes.Buffer
	from := 0
	for _, in := range all {
		out.Write(text[from:in.offset])
		out.WriteString(in.text)
		from = in.offset
	}
	out.Write(text[from:])
	return out.String()
}

// link builds the test binaries, with the mutants.
func (b *build) link(ctx context.Context, overlay string) error {
	for i, pattern := range b.tests {
		out, err := b.goCommand(ctx, "list", "-f", "{{.Dir}}", pattern)
		if err != nil {
			return fmt.Errorf("%s: %w\n%s", pattern, err, out)
		}
		bin := binary{pattern, filepath.Join(b.dir, fmt.Sprintf("tests%d", i)), strings.TrimSpace(string(out))}
		out, err = b.goCommand(ctx, "test", "-c", "-vet=off", "-overlay", overlay, "-o", bin.path, pattern)
		if err != nil {
			return fmt.Errorf("build the tests of %s: %w\n%s", pattern, err, out)
		}
		if _, err := os.Stat(bin.path); err != nil {
			return fmt.Errorf("%s has no tests", pattern)
		}
		b.binaries = append(b.binaries, bin)
	}
	return nil
}

func (b *build) goCommand(ctx context.Context, args ...string) ([]byte, error) {
	cmd := exec.CommandContext(ctx, "go", args...)
	cmd.Dir = b.root
	return cmd.CombinedOutput()
}

// baseline runs the tests without an active mutant. It returns the parts of the
// package that the tests run, and for each binary the time limit for a mutant.
func (b *build) baseline(ctx context.Context, filter string) (coverage, []time.Duration, error) {
	covered := make(coverage)
	var limits []time.Duration
	for i, bin := range b.binaries {
		began := time.Now()
		out, err := bin.command(ctx, 0, 15*time.Minute, filter).CombinedOutput()
		if err != nil {
			return nil, nil, fmt.Errorf("the tests of %s fail without a mutant: %w\n%s", bin.pattern, err, tail(out))
		}
		limits = append(limits, 3*time.Since(began)+10*time.Second)

		// Coverage comes from the original text: go test -cover takes no overlay.
		profile := filepath.Join(b.dir, fmt.Sprintf("profile%d", i))
		out, err = b.goCommand(ctx, "test", "-vet=off", "-count=1", "-coverprofile", profile, "-coverpkg", b.pkg.PkgPath, "-run", filter, bin.pattern)
		if err != nil {
			return nil, nil, fmt.Errorf("the tests of %s fail with coverage: %w\n%s", bin.pattern, err, tail(out))
		}
		text, err := os.ReadFile(profile)
		if err != nil {
			return nil, nil, err
		}
		if err := covered.read(text); err != nil {
			return nil, nil, fmt.Errorf("%s: %w", profile, err)
		}
	}
	return covered, limits, nil
}

func tail(out []byte) []byte {
	out = bytes.TrimSpace(out)
	return out[max(0, len(out)-4000):]
}

// command returns the command that runs the tests with a mutant.
func (bin binary) command(ctx context.Context, id int, limit time.Duration, filter string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, bin.path, "-test.failfast", "-test.timeout", limit.String(), "-test.run", filter)
	cmd.Dir = bin.dir
	cmd.Env = append(os.Environ(), variable+"="+strconv.Itoa(id))
	cmd.WaitDelay = 5 * time.Second
	return cmd
}

// coverage has the blocks of a package, by the base name of the file.
type coverage map[string][]block

type block struct {
	fromLine, fromColumn, toLine, toColumn int
	run                                    bool
}

// read adds the blocks of a profile.
func (c coverage) read(profile []byte) error {
	lines := bufio.NewScanner(bytes.NewReader(profile))
	for lines.Scan() {
		place, counts, ok := strings.Cut(lines.Text(), " ")
		if !ok || strings.HasPrefix(lines.Text(), "mode:") {
			continue
		}
		colon := strings.LastIndex(place, ":")
		b := block{run: !strings.HasSuffix(counts, " 0")}
		if _, err := fmt.Sscanf(place[colon+1:], "%d.%d,%d.%d", &b.fromLine, &b.fromColumn, &b.toLine, &b.toColumn); err != nil {
			return fmt.Errorf("line %q: %w", lines.Text(), err)
		}
		file := filepath.Base(place[:colon])
		c[file] = append(c[file], b)
	}
	return lines.Err()
}

// has reports whether a test runs the code of a mutant. Some code, such as the
// condition of a case, is in no block: it counts as run.
func (c coverage) has(m *mutant) bool {
	known := false
	for _, b := range c[filepath.Base(m.at.Filename)] {
		from, to := [2]int{b.fromLine, b.fromColumn}, [2]int{b.toLine, b.toColumn}
		at := [2]int{m.at.Line, m.at.Column}
		if slices.Compare(from[:], at[:]) <= 0 && slices.Compare(at[:], to[:]) < 0 {
			if b.run {
				return true
			}
			known = true
		}
	}
	return !known
}
