// Command mutate changes the code of a package in small ways, and measures how many of
// the changes the tests of the package find.
//
//	go run -C tools ./mutate ./liveness                       # one package
//	go run -C tools ./mutate -tests ./bus ./internal/delivery # tests of other packages, too
//	go run -C tools ./mutate -sample 100 ./rpc                # 100 mutants, chosen at random
//
// A mutant is the package with one change: a condition negated, an operand of &&
// or || ignored, < turned into <=, an arithmetic result negated, min and max
// exchanged, an error replaced by nil in a return statement, or a statement left
// out. The command compiles the package once, with all mutants in it, and runs
// the tests once for each mutant. The tests find a mutant if they fail or do not
// end in time.
//
// It prints the mutants that survive, and the score: the share of mutants that
// the tests find. A mutant in code that no test runs counts as surviving. For each
// survivor, find out whether a test is missing, the code is superfluous, or the change
// makes no difference. The command does not change log lines and locks.
//
// A run takes minutes to hours and is not part of CI. The time for a mutant is
// three times that of the unchanged tests, and the flag -within bounds the whole
// run. A test that fails at random makes the score too high.
//
// Exit status: 0 done; 1 failed; 2 wrong usage.
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

type settings struct {
	root     string
	packages []string
	tests    []string
	sample   int
	seed     uint64
	within   time.Duration
	parallel int
	run      string
	verbose  bool
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	code := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	var s settings
	var tests string
	flags := flag.NewFlagSet("mutate", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.Usage = func() {
		fmt.Fprintln(stderr, "usage: mutate [flags] package...")
		flags.PrintDefaults()
	}
	flags.StringVar(&s.root, "root", "..", "the root of the repository")
	flags.StringVar(&tests, "tests", "", "more packages, separated by commas, whose tests run for each mutant")
	flags.IntVar(&s.sample, "sample", 0, "the number of mutants of each package, chosen at random; 0 means all")
	flags.Uint64Var(&s.seed, "seed", 1, "the seed of the choice")
	flags.DurationVar(&s.within, "within", time.Hour, "the time for each package, after which it reports what it has")
	flags.IntVar(&s.parallel, "parallel", 2, "how many mutants are tested at the same time")
	flags.StringVar(&s.run, "run", "", "run only the tests that match this regular expression")
	flags.BoolVar(&s.verbose, "v", false, "print the verdict on each mutant when it is known")
	if err := flags.Parse(args); err != nil {
		return 2
	}
	s.packages = flags.Args()
	if tests != "" {
		s.tests = strings.Split(tests, ",")
	}
	if len(s.packages) == 0 || s.parallel < 1 {
		flags.Usage()
		return 2
	}
	var err error
	if s.root, err = filepath.Abs(s.root); err != nil {
		fmt.Fprintln(stderr, "mutate:", err)
		return 1
	}
	for _, p := range s.packages {
		if err := mutate(ctx, s, p, stdout); err != nil {
			fmt.Fprintf(stderr, "mutate: %s: %v\n", p, err)
			return 1
		}
	}
	return 0
}

// mutate tests the mutants of one package and prints the report.
func mutate(ctx context.Context, s settings, pattern string, stdout io.Writer) error {
	dir, err := os.MkdirTemp("", "mutate-*")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)

	pkg, err := load(ctx, s.root, pattern)
	if err != nil {
		return err
	}
	mutants := pkg.mutants()
	b := build{root: s.root, dir: dir, pkg: pkg, tests: slices.Concat([]string{pattern}, s.tests)}
	if mutants, err = b.compile(ctx, mutants); err != nil {
		return err
	}
	covered, limits, err := b.baseline(ctx, s.run)
	if err != nil {
		return err
	}
	all := len(mutants)
	if s.sample > 0 && s.sample < len(mutants) {
		r := rand.New(rand.NewPCG(s.seed, 0)) // a choice that can be repeated
		r.Shuffle(len(mutants), func(i, j int) { mutants[i], mutants[j] = mutants[j], mutants[i] })
		mutants = mutants[:s.sample]
		slices.SortFunc(mutants, func(a, b *mutant) int { return a.id - b.id })
	}
	fmt.Fprintf(stdout, "%s: %d of %d mutants, at most %v each\n", pattern, len(mutants), all, sum(limits).Round(time.Second))

	bounded, cancel := context.WithTimeout(ctx, s.within)
	defer cancel()
	b.test(bounded, mutants, covered, limits, s, stdout)
	if err := ctx.Err(); err != nil {
		return err
	}
	report(stdout, s.root, pattern, mutants)
	return nil
}

func report(stdout io.Writer, root, pattern string, mutants []*mutant) {
	count := make(map[verdict]int)
	for _, m := range mutants {
		count[m.verdict]++
	}
	for _, v := range []verdict{timedOut, uncovered, survived} {
		for _, m := range mutants {
			if m.verdict == v {
				fmt.Fprintf(stdout, "%-10s %s\n", v, m.place(root))
			}
		}
	}
	found := count[failed] + count[timedOut]
	tested := found + count[survived] + count[uncovered]
	fmt.Fprintf(stdout, "%s: the tests find %d of %d mutants (%.1f %%): %d fail a test, %d time out, %d survive, %d are in code that no test runs",
		pattern, found, tested, 100*float64(found)/float64(max(tested, 1)), count[failed], count[timedOut], count[survived], count[uncovered])
	if n := count[untested]; n > 0 {
		fmt.Fprintf(stdout, "; %d were not tested in time", n)
	}
	fmt.Fprintln(stdout)
}

func sum(all []time.Duration) time.Duration {
	var total time.Duration
	for _, d := range all {
		total += d
	}
	return total
}
