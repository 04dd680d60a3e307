package main

import (
	"context"
	"fmt"
	"io"
	"strings"
	"sync"
	"time"
)

// test runs the tests for each mutant and sets its verdict. It stops when the
// context ends.
func (b *build) test(ctx context.Context, mutants []*mutant, covered coverage, limits []time.Duration, s settings, stdout io.Writer) {
	work := make(chan *mutant)
	var print sync.Mutex
	var workers sync.WaitGroup
	for range s.parallel {
		workers.Go(func() {
			for m := range work {
				m.verdict = b.try(ctx, m, limits, s.run)
				if s.verbose && m.verdict != untested {
					print.Lock()
					fmt.Fprintf(stdout, "%-10s %s\n", m.verdict, m.place(s.root))
					print.Unlock()
				}
			}
		})
	}
	for _, m := range mutants {
		if !covered.has(m) {
			m.verdict = uncovered
			continue
		}
		select {
		case work <- m:
		case <-ctx.Done():
		}
	}
	close(work)
	workers.Wait()
}

// try runs the tests for one mutant.
func (b *build) try(ctx context.Context, m *mutant, limits []time.Duration, filter string) verdict {
	for i, bin := range b.binaries {
		// The tests end themselves after the limit and print where they hang. If a
		// mutant prevents that, try kills the process.
		bounded, cancel := context.WithTimeout(ctx, limits[i]+10*time.Second)
		out, err := bin.command(bounded, m.id, limits[i], filter).CombinedOutput()
		late := bounded.Err() != nil
		cancel()
		switch {
		case ctx.Err() != nil:
			return untested
		case err == nil:
		case late, strings.Contains(string(out), "panic: test timed out after"):
			return timedOut
		default:
			return failed
		}
	}
	return survived
}
