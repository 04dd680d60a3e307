package bustest

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// shownItems is how many items a failure message lists at most: the last ones.
const shownItems = 10

func quote(s string) string { return strconv.Quote(s) }

// report lists what was published or delivered on the topic, why each item does not match, and
// the failures that may be the reason.
func (k *Kit) report(topic string, deliveries bool, properties []Property) string {
	itemsOf := k.published
	if deliveries {
		itemsOf = k.rec.Deliveries
	}
	var b strings.Builder
	if all := itemsOf(topic); len(all) == 0 {
		fmt.Fprintf(&b, "there is nothing%s\n", onTopic(topic))
	} else {
		fmt.Fprintf(&b, "%d%s:\n", len(all), onTopic(topic))
		writeList(&b, all, deliveries, func(d *Delivery) string { return k.mismatch(d, properties) })
	}
	elsewhere := map[string]int{}
	for _, d := range itemsOf("") {
		if topic != "" && d.Topic != topic {
			elsewhere[d.Topic]++
		}
	}
	if len(elsewhere) > 0 {
		names := slices.Sorted(maps.Keys(elsewhere))
		more := max(0, len(names)-shownItems)
		for i, name := range names {
			names[i] = fmt.Sprintf("%d on %q", elsewhere[name], name)
		}
		fmt.Fprintf(&b, "elsewhere: %s", strings.Join(names[:len(names)-more], ", "))
		if more > 0 {
			fmt.Fprintf(&b, ", and on %d more topics", more)
		}
		b.WriteString("\n")
	}
	k.writeFailures(&b, func(d Delivery) bool { return deliveries && (topic == "" || d.Topic == topic) })
	return strings.TrimSuffix(b.String(), "\n")
}

// writeFailures lists failed publishes and failed deliveries, without the deliveries that are
// already in the report.
func (k *Kit) writeFailures(b *strings.Builder, reported func(Delivery) bool) {
	if failed := k.rec.PublishFailures(""); len(failed) > 0 {
		fmt.Fprintf(b, "not published (%d):\n", len(failed))
		for _, m := range lastShown(b, failed) {
			fmt.Fprintf(b, "  %s\n", excerpt(oneLine(m.Err), 300))
		}
	}
	failed := filter(k.rec.Deliveries(""), func(d Delivery) bool { return d.Err != nil && !reported(d) })
	if len(failed) > 0 {
		fmt.Fprintf(b, "not acknowledged (%d):\n", len(failed))
		writeList(b, failed, true, nil)
	}
}

// writeList writes a line for each of the last items. The next line has the reason that why
// returns for the item, if there is one.
func writeList(b *strings.Builder, all []Delivery, deliveries bool, why func(*Delivery) string) {
	for _, d := range lastShown(b, all) {
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

// lastShown returns the items to list, and writes how many it has left out.
func lastShown[T any](b *strings.Builder, all []T) []T {
	if more := len(all) - shownItems; more > 0 {
		fmt.Fprintf(b, "  … %d earlier\n", more)
		return all[more:]
	}
	return all
}
