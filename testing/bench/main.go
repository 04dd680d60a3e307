package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime"
	"runtime/pprof"
	"slices"
	"strings"
	"time"
)

func main() {
	if os.Getenv(brokerEnv) != "" {
		exit(serveBroker(os.Stdin, os.Stdout))
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	exit(command(ctx, os.Args[1:], os.Stdout, os.Stderr))
}

func exit(err error) {
	switch {
	case err == nil:
		os.Exit(0)
	case errors.Is(err, flag.ErrHelp):
		os.Exit(2)
	default:
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// command runs the program once.
func command(ctx context.Context, args []string, out, progress io.Writer) error {
	flags := flag.NewFlagSet("bench", flag.ContinueOnError)
	flags.SetOutput(progress)
	quick := flags.Bool("quick", false, "run one round of short measurements, for a first impression")
	only := flags.String("only", strings.Join(groups, ","), "run only these groups of scenarios, separated by commas")
	match := flags.String("match", "", "run only the scenarios whose name contains this text")
	peerName := flags.String("peer", "", "run only the peers whose name contains this text")
	profile := flags.String("cpuprofile", "", "write a CPU profile to this file; use it with -match and -peer")
	allocs := flags.String("memprofile", "", "write an allocation profile to this file; use it with -match and -peer")
	rounds := flags.Int("rounds", 3, "the number of rounds: how often each peer is measured")
	brokers := flags.String("brokers", "embedded", "the addresses of real brokers as host:port,..., or embedded")
	markdown := flags.String("md", "", "write the tables to this Markdown file")
	chart := flags.String("svg", "", "write a chart to this SVG file")
	asJSON := flags.Bool("json", false, "print JSON instead of tables")
	if err := flags.Parse(args); err != nil {
		return err
	}
	e := &env{measure: time.Second, warm: 300 * time.Millisecond, records: 400_000, slowRecords: 10_000, keys: 20_000, out: progress}
	if *quick {
		*rounds = 1
		e.measure, e.warm, e.records, e.slowRecords = 100*time.Millisecond, 50*time.Millisecond, 20_000, 1000
	}
	if *rounds < 1 {
		return fmt.Errorf("-rounds must be at least 1, got %d", *rounds)
	}
	chosen := strings.Split(*only, ",")
	for _, g := range chosen {
		if !slices.Contains(groups, g) {
			return fmt.Errorf("-only: there is no group %q; the groups are %s", g, strings.Join(groups, ", "))
		}
	}
	selected := slices.DeleteFunc(scenarios(), func(s scenario) bool {
		return !slices.Contains(chosen, s.group) || !strings.Contains(s.name, *match)
	})
	for i := range selected {
		selected[i].peers = slices.DeleteFunc(selected[i].peers, func(p peer) bool { return !strings.Contains(p.name, *peerName) })
	}
	selected = slices.DeleteFunc(selected, func(s scenario) bool { return len(s.peers) == 0 })
	if *profile != "" {
		f, err := os.Create(*profile)
		if err != nil {
			return err
		}
		defer f.Close()
		if err := pprof.StartCPUProfile(f); err != nil {
			return err
		}
		defer pprof.StopCPUProfile()
	}
	if *allocs != "" {
		runtime.MemProfileRate = 16 << 10 // bytes
	}
	if slices.ContainsFunc(selected, func(s scenario) bool { return s.kafka }) {
		stop, err := e.connect(ctx, *brokers)
		if err != nil {
			return err
		}
		defer stop()
	}
	var results []result
	for _, s := range selected {
		r, err := e.run(ctx, s, *rounds)
		if err != nil {
			return err
		}
		results = append(results, r)
		if !*asJSON {
			if err := writeMarkdown(out, []result{r}); err != nil {
				return err
			}
		}
	}
	if *asJSON {
		j := json.NewEncoder(out)
		j.SetIndent("", "  ")
		if err := j.Encode(results); err != nil {
			return err
		}
	}
	if err := writeFile(*markdown, func(w io.Writer) error { return writeMarkdown(w, results) }); err != nil {
		return err
	}
	if err := writeFile(*chart, func(w io.Writer) error { return draw(w, results) }); err != nil {
		return err
	}
	return writeFile(*allocs, func(w io.Writer) error { return pprof.Lookup("allocs").WriteTo(w, 0) })
}

// writeFile creates the file and calls write to fill it. It does nothing if name is "".
func writeFile(name string, write func(io.Writer) error) error {
	if name == "" {
		return nil
	}
	f, err := os.Create(name)
	if err != nil {
		return err
	}
	if err := write(f); err != nil {
		_ = f.Close() // the first error is the useful one
		return err
	}
	return f.Close()
}
