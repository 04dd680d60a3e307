package main

import (
	"fmt"
	"io"
	"strings"
	"time"
)

// writeMarkdown writes a table for each scenario.
func writeMarkdown(w io.Writer, results []result) error {
	var b strings.Builder
	for _, r := range results {
		requests := false
		for _, row := range r.Rows {
			requests = requests || row.Median.PerRequest > 0
		}
		fmt.Fprintf(&b, "\n### %s: %s\n\n| | %s (lowest, highest) | of the base |", r.Group, r.Name, r.Unit)
		columns := 5
		if r.Latency {
			b.WriteString(" p50 | p99 | p99.9 |")
			columns += 3
		}
		b.WriteString(" allocations | CPU |")
		if requests {
			b.WriteString(" records a request |")
			columns++
		}
		b.WriteString("\n|---|" + strings.Repeat("--:|", columns-1) + "\n")
		var base float64
		for _, row := range r.Rows {
			if row.Base {
				base = row.Median.Rate
			}
		}
		for _, row := range r.Rows {
			name, ratio := row.Peer, "–"
			if row.Ours {
				name = "**" + name + "**"
			}
			if base > 0 {
				ratio = fmt.Sprintf("%.2f ×", row.Median.Rate/base)
			}
			m := row.Median
			fmt.Fprintf(&b, "| %s | %s (%s, %s) | %s |", name, count(m.Rate), count(row.Lowest), count(row.Most), ratio)
			if r.Latency {
				fmt.Fprintf(&b, " %s | %s | %s |", short(m.P50), short(m.P99), short(m.P999))
			}
			fmt.Fprintf(&b, " %.1f | %s |", m.Allocs, short(m.CPU))
			if requests {
				fmt.Fprintf(&b, " %.1f |", m.PerRequest)
			}
			b.WriteByte('\n')
		}
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// count formats a rate with few digits.
func count(n float64) string {
	switch {
	case n >= 999_500:
		return fmt.Sprintf("%.2fM", n/1e6)
	case n >= 9_995:
		return fmt.Sprintf("%.0fk", n/1e3)
	case n >= 1_000:
		return fmt.Sprintf("%.1fk", n/1e3)
	case n >= 10:
		return fmt.Sprintf("%.0f", n)
	default:
		return fmt.Sprintf("%.1f", n)
	}
}

// short formats a duration with few digits.
func short(d time.Duration) string {
	switch {
	case d < 10*time.Microsecond:
		return fmt.Sprintf("%.2f µs", float64(d)/1e3)
	case d < time.Millisecond:
		return fmt.Sprintf("%.0f µs", float64(d)/1e3)
	default:
		return fmt.Sprintf("%.1f ms", float64(d)/1e6)
	}
}
