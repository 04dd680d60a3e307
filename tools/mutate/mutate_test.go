package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const code = `// Package scratch is mutated.
package scratch

import "errors"

var (
	errNegative = errors.New("negative")
	calls       int
)

const size = 1 + 2

type flag bool

// Clamp bounds n by most.
func Clamp(n, most int) (int, error) {
	calls++
	if n < 0 || most < 0 {
		return 0, errNegative
	}
	return min(n, most), nil
}

func both(a, b bool) flag {
	if a && b { return true }
	return false
}

func half(n int) int { return n / 2 }

func untested(n int) bool { return n > size }

func spin(stop bool) {
	for !stop || false {
		stop = true
	}
}

func receive(c chan int) int {
	select {
	case c <- 1:
	default:
	}
	switch n := <-c; {
	case n > 0:
		return n
	}
	return 0
}
`

const tests = `package scratch

import "testing"

func TestClamp(t *testing.T) {
	if n, err := Clamp(3, 2); n != 2 || err != nil { t.Fatal(n, err) }
	if _, err := Clamp(-1, 2); err == nil { t.Fatal("no error") }
	spin(false)
	if !both(true, true) || receive(make(chan int, 1)) != 1 { t.Fatal("both") }
}
`

const outside = `package other

import ("testing"; "example.com/scratch")

func TestZero(t *testing.T) {
	if _, err := scratch.Clamp(0, 0); err != nil { t.Fatal(err) }
}
`

func scratch(t *testing.T) string {
	t.Helper()
	root := t.TempDir()
	for path, text := range map[string]string{
		"go.mod":              "module example.com/scratch\n\ngo 1.26.0\n",
		"scratch.go":          code,
		"scratch_test.go":     tests,
		"other/other_test.go": outside,
		"bare/bare.go":        "package bare\n",
	} {
		full := filepath.Join(root, path)
		if err := os.MkdirAll(filepath.Dir(full), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(full, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return root
}

func command(t *testing.T, root string, want int, args ...string) string {
	t.Helper()
	var out bytes.Buffer
	if code := run(t.Context(), append([]string{"-root", root}, args...), &out, &out); code != want {
		t.Fatalf("exit status %d, want %d\n%s", code, want, out.String())
	}
	return out.String()
}

func lines(t *testing.T, text string, wants map[string]bool) {
	t.Helper()
	for want, there := range wants {
		if strings.Contains(text, want) != there {
			t.Errorf("%q: contained %v, want %v, in:\n%s", want, !there, there, text)
		}
	}
}

func TestVerdicts(t *testing.T) {
	t.Parallel()
	root := scratch(t)
	lines(t, command(t, root, 0, "-v", "."), map[string]bool{
		"survived   scratch.go:17:2: leave out calls++":          true,
		"failed     scratch.go:18:5: negate n < 0 || most < 0":   true,
		"survived   scratch.go:18:5: < becomes <= in n < 0":      true,
		"survived   scratch.go:18:14: take for false: most < 0":  true,
		"failed     scratch.go:18:5: take for false: n < 0":      true,
		"failed     scratch.go:19:3: return nil for errNegative": true,
		"failed     scratch.go:21:9: min becomes max":            true,
		"survived   scratch.go:25:5: take for true: a":           true,
		"failed     scratch.go:25:5: negate a && b":              true,
		"no test    scratch.go:29:31: negate n / 2":              true,
		"no test    scratch.go:31:36: > becomes >= in n > size":  true,
		"timed out  scratch.go:35:3: leave out stop = true":      true,
		"failed     scratch.go:45:7: negate n > 0":               true,
		"1 + 2":     false, // a constant
		"c <- 1":    false, // the compiler does not allow an if statement there
		"size + 1":  false,
		"untested ": false,
	})
}

func TestTestsOfOtherPackagesCount(t *testing.T) {
	t.Parallel()
	root := scratch(t)
	out := command(t, root, 0, "-v", "-tests", "./other", "-run", "Clamp|Zero", ".")
	lines(t, out, map[string]bool{"failed     scratch.go:18:5: < becomes <= in n < 0": true})
}

func TestSampleAndTime(t *testing.T) {
	t.Parallel()
	root := scratch(t)
	first := command(t, root, 0, "-sample", "3", "-within", "1ns", ".")
	lines(t, first, map[string]bool{". : 3 of": false, ".: 3 of": true, "were not tested in time": true})
	if second := command(t, root, 0, "-sample", "3", "-within", "1ns", "."); second != first {
		t.Errorf("another choice with the same seed:\n%s%s", first, second)
	}
}

func TestErrorsNameTheirCause(t *testing.T) {
	t.Parallel()
	root := scratch(t)
	command(t, root, 2)
	lines(t, command(t, root, 1, "./nosuch"), map[string]bool{"mutate: ./nosuch: ": true})
	lines(t, command(t, root, 1, "./bare"), map[string]bool{"./bare has no tests": true})
	broken := filepath.Join(root, "scratch_test.go")
	if err := os.WriteFile(broken, []byte("package scratch\n\nimport \"testing\"\n\nfunc TestNo(t *testing.T) { t.Fatal(\"broken\") }\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	lines(t, command(t, root, 1, "."), map[string]bool{"the tests of . fail without a mutant": true, "broken": true})
}
