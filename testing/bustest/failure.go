package bustest

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// shown is how many messages a failure shows: the last ones.
const shown = 10

func quote(s string) string { return strconv.Quote(s) }

// report tells what there is where a message, or a delivery, was looked for, why it was not
// that, and what went wrong elsewhere.
func (k *Kit) report(topic string, deliveries bool, properties []Property) string {
	look := k.published
	if deliveries {
		look = k.rec.Deliveries
	}
	var b strings.Builder
	if all := look(topic); len(all) == 0 {
		fmt.Fprintf(&b, "there is nothing%s\n", on(topic))
	} else {
		fmt.Fprintf(&b, "%d%s:\n", len(all), on(topic))
		list(&b, all, deliveries, func(d *Delivery) string { return k.unlike(d, properties) })
	}
	elsewhere := map[string]int{}
	for _, d := range look("") {
		if topic != "" && d.Topic != topic {
			elsewhere[d.Topic]++
		}
	}
	if len(elsewhere) > 0 {
		names := slices.Sorted(maps.Keys(elsewhere))
		more := max(0, len(names)-shown)
		for i, name := range names {
			names[i] = fmt.Sprintf("%d on %q", elsewhere[name], name)
		}
		fmt.Fprintf(&b, "elsewhere: %s", strings.Join(names[:len(names)-more], ", "))
		if more > 0 {
			fmt.Fprintf(&b, ", and on %d more topics", more)
		}
		b.WriteString("\n")
	}
	k.troubles(&b, func(d Delivery) bool { return deliveries && (topic == "" || d.Topic == topic) })
	return strings.TrimSuffix(b.String(), "\n")
}

// troubles tells what went wrong, which may be why, but for deliveries that were told.
func (k *Kit) troubles(b *strings.Builder, told func(Delivery) bool) {
	if bad := k.rec.Unpublished(""); len(bad) > 0 {
		fmt.Fprintf(b, "not published (%d):\n", len(bad))
		for _, m := range last(b, bad) {
			fmt.Fprintf(b, "  %s\n", excerpt(oneLine(m.Err), 300))
		}
	}
	bad := filter(k.rec.Deliveries(""), func(d Delivery) bool { return d.Err != nil && !told(d) })
	if len(bad) > 0 {
		fmt.Fprintf(b, "not acknowledged (%d):\n", len(bad))
		list(b, bad, true, nil)
	}
}

// list writes the last of them, and what why says of each.
func list(b *strings.Builder, all []Delivery, deliveries bool, why func(*Delivery) string) {
	for _, d := range last(b, all) {
		line := d.Message.String()
		if deliveries {
			line = d.String()
		}
		fmt.Fprintf(b, "  %s\n", line)
		if why != nil {
			if reason := why(&d); reason != "" {
				fmt.Fprintf(b, "    %s\n", reason)
			}
		}
	}
}

// last returns those that are shown, and says how many are not.
func last[T any](b *strings.Builder, all []T) []T {
	if more := len(all) - shown; more > 0 {
		fmt.Fprintf(b, "  … %d earlier\n", more)
		return all[more:]
	}
	return all
}
