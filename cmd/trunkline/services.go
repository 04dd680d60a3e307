package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/peterbourgon/ff/v3/ffcli"

	"github.com/trunkline/trunkline/rpc"
	"github.com/trunkline/trunkline/rpc/discovery"
	"github.com/trunkline/trunkline/rpc/presence"
)

func servicesCommand(stdout io.Writer) *ffcli.Command {
	fs := flag.NewFlagSet("trunkline services", flag.ContinueOnError)
	url := fs.String("bus", "kafka://127.0.0.1:9092", "`URL` of the bus")
	service := fs.String("service", "", "list only the instances of the service with this `name`")
	wait := fs.Duration("wait", 2*time.Second, "how long to wait for the answers of the instances")
	timeout := fs.Duration("timeout", 30*time.Second, "limit for the whole command")
	asJSON := fs.Bool("json", false, "print JSON, with all counters")
	return &ffcli.Command{
		Name:       "services",
		ShortUsage: "trunkline services [flags]",
		ShortHelp:  "List the service instances on a bus, with the statistics of their methods.",
		LongHelp: `Lists the instances that RPC servers announce (the servers of an assembled App do so by
default; see rpc.WithDiscovery) and the statistics that they return. An instance that
announces itself and does not answer within -wait has the state "silent"; it may have
crashed a moment ago.

EXAMPLES
  trunkline services
  trunkline services -bus kafka://broker:9092 -service greeter
  trunkline services -json

` + exitHelp,
		FlagSet: fs,
		Exec: func(ctx context.Context, args []string) error {
			if err := noArguments(args); err != nil {
				return err
			}
			if *wait <= 0 || *timeout <= 0 {
				return usageError("-wait and -timeout must be greater than 0, got %v and %v", *wait, *timeout)
			}
			bounded, cancel := context.WithTimeoutCause(ctx, *timeout, timeoutError(*timeout))
			defer cancel()
			list, err := listServices(bounded, *url, *service, *wait)
			switch {
			case ctx.Err() != nil:
				return &exitError{exitInterrupted, errors.New("interrupted")}
			case err != nil:
				return cannotRun(err)
			case *asJSON:
				err = writeJSON(stdout, list)
			default:
				err = writeServices(stdout, list)
			}
			if err != nil {
				return fmt.Errorf("write the list: %w", err)
			}
			return nil
		},
	}
}

// serviceInstance is one instance, as the command prints it.
type serviceInstance struct {
	Service  string    `json:"service"`
	Instance string    `json:"instance"`
	Version  string    `json:"version,omitempty"`
	Topics   []string  `json:"topics"`
	Started  time.Time `json:"started,omitzero"`
	// State is "serving", or "silent" if the instance announces itself and did not answer.
	State   string            `json:"state"`
	Total   *rpc.ServerStats  `json:"total,omitempty"`
	Methods []rpc.MethodStats `json:"methods,omitempty"`
}

func listServices(ctx context.Context, url, service string, wait time.Duration) ([]serviceInstance, error) {
	b, err := openBus(ctx, url)
	if err != nil {
		return nil, err
	}
	defer b.Close()
	if err := b.Ready(ctx); err != nil {
		return nil, err
	}
	w, err := presence.NewWatcher(b)
	if err != nil {
		return nil, err
	}
	defer func() { _ = w.Close() }()
	c, err := rpc.NewClient(b, rpc.WithName("trunkline-services"))
	if err != nil {
		return nil, err
	}
	defer c.Close()
	if err := errors.Join(w.Ready(ctx), c.Ready(ctx)); err != nil {
		return nil, err
	}
	stats, err := discovery.Stats(ctx, c, discovery.Filter{Service: service, Timeout: wait})
	if err != nil {
		return nil, err
	}
	return merge(w.Instances(service), stats), nil
}

// merge returns the instances that answered, and those that only announced themselves.
func merge(announced []presence.Instance, answered []rpc.ServiceStats) []serviceInstance {
	list := []serviceInstance{}
	known := map[string]bool{}
	for _, s := range answered {
		known[s.Service+"/"+s.Instance] = true
		list = append(list, serviceInstance{Service: s.Service, Instance: s.Instance, Version: s.Version, Topics: s.Topics, Started: s.Started,
			State: "serving", Total: &s.Total, Methods: s.Methods})
	}
	for _, i := range announced {
		if !known[i.Service+"/"+i.ID] {
			list = append(list, serviceInstance{Service: i.Service, Instance: i.ID, Version: i.Version, Topics: i.Topics, Started: i.Started, State: "silent"})
		}
	}
	slices.SortFunc(list, func(a, b serviceInstance) int {
		return cmp.Or(cmp.Compare(a.Service, b.Service), cmp.Compare(a.Instance, b.Instance))
	})
	return list
}

func writeJSON(w io.Writer, v any) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	return e.Encode(v)
}

func writeServices(w io.Writer, list []serviceInstance) error {
	if len(list) == 0 {
		_, err := fmt.Fprintln(w, "no service announces itself on this bus (see rpc.WithDiscovery)")
		return err
	}
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "SERVICE\tINSTANCE\tVERSION\tSTATE\tTOPICS\tMETHOD\tREQUESTS\tERRORS\tIN FLIGHT\tP50\tP99\tLAST ERROR")
	for _, i := range list {
		instance := strings.Join([]string{plain(i.Service), plain(i.Instance), dash(plain(i.Version)), i.State, dash(plain(strings.Join(i.Topics, ",")))}, "\t")
		if len(i.Methods) == 0 {
			fmt.Fprintf(t, "%s\t-\t-\t-\t-\t-\t-\t-\n", instance)
		}
		for _, m := range i.Methods {
			fmt.Fprintf(t, "%s\t%s\t%d\t%s\t%d\t%s\t%s\t%s\n", instance, plain(m.Method), m.Requests, dash(codesOf(m.Errors)), m.InFlight,
				rounded(m.Latency.P50), rounded(m.Latency.P99), lastError(m.LastError))
		}
	}
	return t.Flush()
}

func codesOf(errors map[string]uint64) string {
	var parts []string
	for _, code := range slices.Sorted(maps.Keys(errors)) {
		parts = append(parts, fmt.Sprintf("%s:%d", plain(code), errors[code]))
	}
	return strings.Join(parts, ",")
}

func lastError(e *rpc.LastError) string {
	if e == nil {
		return "-"
	}
	return fmt.Sprintf("%s %s: %s", e.At.Format(time.RFC3339), plain(e.Code), plain(e.Message))
}

func rounded(d time.Duration) string {
	switch {
	case d == 0:
		return "-"
	case d < time.Millisecond:
		return d.Round(time.Microsecond / 10).String()
	default:
		return d.Round(10 * time.Microsecond).String()
	}
}

func dash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

// plain replaces the control characters of text from the bus, which could control the
// terminal or break a table.
func plain(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || r >= 0x80 && r < 0xa0 {
			return ' '
		}
		return r
	}, s)
}
