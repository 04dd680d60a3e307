package demo

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/trunkline/trunkline/examples/devices"
)

// Report is the result of a run. OK is true if and only if Problems is empty.
type Report struct {
	OK       bool     `json:"ok"`
	Problems []string `json:"problems"`

	Transport string   `json:"transport"`
	Cannot    []string `json:"cannot"`
	Devices   int      `json:"devices"`
	Enabled   int      `json:"enabled"`
	Elapsed   Millis   `json:"elapsed_ms"`

	Calls   CallReport      `json:"calls"`
	Adapter devices.Summary `json:"adapter"`
	// Cut is nil if the transport was not cut; NoCut is then the reason.
	Cut   *CutReport `json:"cut,omitempty"`
	NoCut string     `json:"no_cut,omitempty"`
	// Observations counts the observations of readiness, and those that contradicted the
	// registry.
	Observations Observations `json:"observations"`
}

// CallReport summarizes the calls of the core.
type CallReport struct {
	Total        int            `json:"total"`
	OK           int            `json:"ok"`
	Failed       int            `json:"failed"`
	FailedByCode map[string]int `json:"failed_by_code"`
	// Repeated is the number of calls that repeated a failed call.
	Repeated     int     `json:"repeated"`
	PendingAtCut Pending `json:"pending_at_cut"`
	// OutsideCut and Overall are the latencies of successful calls. OutsideCut excludes the
	// calls that overlap the interval from the cut until the core was ready again.
	OutsideCut Latency `json:"latency_outside_cut"`
	Overall    Latency `json:"latency_overall"`
}

// Pending summarizes the calls that were pending at the cut.
type Pending struct {
	Calls     int            `json:"calls"`
	Replied   int            `json:"replied"`
	EndedWith map[string]int `json:"ended_with"`
}

// Latency summarizes the latency of a set of calls.
type Latency struct {
	Calls int    `json:"calls"`
	P50   Millis `json:"p50_ms"`
	P99   Millis `json:"p99_ms"`
}

// CutReport summarizes the cut and readiness. Times are since the cut, or since the
// transport was restored; a negative time means never.
type CutReport struct {
	AfterCalls   int    `json:"after_calls"`
	Lasted       Millis `json:"lasted_ms"`
	NotReady     Millis `json:"not_ready_after_ms"`
	Unavailable  Millis `json:"grpc_unavailable_after_ms"`
	ReadyAgain   Millis `json:"ready_again_after_ms"`
	GRPCOKAgain  Millis `json:"grpc_ok_again_after_ms"`
	WhyNotReady  string `json:"why_not_ready"`
	GRPCRefusals int    `json:"grpc_unavailable_answers"`
}

// Observations counts the requests to the HTTP probe and the calls of the gRPC server.
type Observations struct {
	HTTP       int `json:"http"`
	GRPC       int `json:"grpc"`
	Misreports int `json:"misreports"`
	// Flaps is how often the core became not ready without a cut.
	Flaps int `json:"flaps"`
}

// Millis is a duration. Its JSON form is in milliseconds.
type Millis time.Duration

// never is the duration until an event that did not happen.
const never = Millis(-1)

// MarshalJSON returns milliseconds with three decimals, or -1 for never.
func (m Millis) MarshalJSON() ([]byte, error) {
	if m < 0 {
		return []byte("-1"), nil
	}
	return []byte(strconv.FormatFloat(float64(m)/1e6, 'f', 3, 64)), nil
}

// String returns the duration in a readable form.
func (m Millis) String() string {
	d := time.Duration(m)
	switch {
	case m < 0:
		return "never"
	case d < 10*time.Millisecond:
		return fmt.Sprintf("%.2f ms", float64(d)/1e6)
	case d < time.Second:
		return fmt.Sprintf("%.0f ms", float64(d)/1e6)
	default:
		return fmt.Sprintf("%.2f s", d.Seconds())
	}
}

// WriteJSON writes the report as one object.
func (r *Report) WriteJSON(w io.Writer) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	return e.Encode(r)
}

// WriteTable writes the report as a table.
func (r *Report) WriteTable(w io.Writer) error {
	t := tabwriter.NewWriter(w, 0, 4, 2, ' ', 0)
	row := func(name, format string, args ...any) { fmt.Fprintf(t, "%s\t%s\n", name, fmt.Sprintf(format, args...)) }
	row("devices", "%d of %d enabled in %v", r.Enabled, r.Devices, r.Elapsed)
	row("calls", "%d ok, %d failed%s, %d repeated", r.Calls.OK, r.Calls.Failed, byCode(r.Calls.FailedByCode), r.Calls.Repeated)
	row("p50, p99 outside the cut", "%v, %v (%d calls)", r.Calls.OutsideCut.P50, r.Calls.OutsideCut.P99, r.Calls.OutsideCut.Calls)
	row("p50, p99 overall", "%v, %v (%d calls)", r.Calls.Overall.P50, r.Calls.Overall.P99, r.Calls.Overall.Calls)
	if c := r.Cut; c != nil {
		p := r.Calls.PendingAtCut
		row("pending at the cut", "%d calls: %d replied, %d failed%s", p.Calls, p.Replied, p.Calls-p.Replied, byCode(p.EndedWith))
		row("not ready", "%v after the cut; gRPC UNAVAILABLE after %v, %d times", c.NotReady, c.Unavailable, c.GRPCRefusals)
		row("ready again", "%v after the transport was restored; gRPC OK after %v", c.ReadyAgain, c.GRPCOKAgain)
	} else {
		row("cut", "none: %s", r.NoCut)
	}
	row("order", "%d steps in order and as sent, %d repeated, %d violations", r.Adapter.Steps, r.Adapter.Repeated, len(r.Adapter.Violations))
	row("readiness", "observed %d times over HTTP, %d over gRPC: %d misreports, %d flaps", r.Observations.HTTP, r.Observations.GRPC, r.Observations.Misreports, r.Observations.Flaps)
	if err := t.Flush(); err != nil {
		return err
	}
	for _, p := range r.Problems {
		if _, err := fmt.Fprintln(w, "FAILED:", p); err != nil {
			return err
		}
	}
	if r.OK {
		_, err := fmt.Fprintln(w, "OK: no call was lost or out of order, and no probe was wrong")
		return err
	}
	return nil
}

func byCode(counts map[string]int) string {
	if len(counts) == 0 {
		return ""
	}
	parts := make([]string, 0, len(counts))
	for _, code := range slices.Sorted(maps.Keys(counts)) {
		parts = append(parts, fmt.Sprintf("%s %d", code, counts[code]))
	}
	return " (" + strings.Join(parts, ", ") + ")"
}
