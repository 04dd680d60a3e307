package bustest

import (
	"fmt"
	"strings"
	"time"

	"github.com/trunkline/trunkline/bus"
)

// pollInterval is how often a kit checks a condition that has no notification.
const pollInterval = 5 * time.Millisecond

// Committed returns the offset that a group has committed in a partition: every record below it
// is acknowledged. It returns 0 if the group has committed nothing.
func (k *Kit) Committed(group, topic string, partition int32) int64 {
	next, _, _ := k.log.Committed(group, topic, partition)
	return next
}

// Lag returns how many records of the topic are at or above the group's committed offsets.
func (k *Kit) Lag(group, topic string) int64 {
	var lag int64
	for p := int32(0); ; p++ {
		oldest, end, err := k.log.Offsets(topic, p)
		if err != nil {
			return lag
		}
		lag += end - max(oldest, k.Committed(group, topic, p))
	}
}

// ExpectCommitted waits until a group has committed this offset in a partition. It fails the
// test at the time-out, or as soon as the group has committed a higher offset.
func (k *Kit) ExpectCommitted(group, topic string, partition int32, offset int64) {
	k.t.Helper()
	var got int64
	bound, ok := k.poll(func() (done, impossible bool) {
		got = k.Committed(group, topic, partition)
		return got == offset, got > offset
	})
	if !ok {
		k.t.Fatalf("bustest: group %q has committed offset %d in partition %d of %q, want %d%s\n%s", group, got, partition, topic, offset, bound, k.reportGroup(group, topic))
	}
}

// ExpectLag waits until a group has this lag on the topic; 0 means that the group has
// acknowledged and committed every record. It fails the test at the time-out.
func (k *Kit) ExpectLag(group, topic string, records int64) {
	k.t.Helper()
	var got int64
	bound, ok := k.poll(func() (done, impossible bool) {
		got = k.Lag(group, topic)
		return got == records, false
	})
	if !ok {
		k.t.Fatalf("bustest: group %q has a lag of %d records on %q, want %d%s\n%s", group, got, topic, records, bound, k.reportGroup(group, topic))
	}
}

// poll calls check until it reports done. It gives up at the time-out, and as soon as check
// reports that done has become impossible.
func (k *Kit) poll(check func() (done, impossible bool)) (bound string, ok bool) {
	w := k.startWait()
	defer w.cancel()
	for {
		switch done, impossible := check(); {
		case done:
			return "", true
		case impossible:
			return "", false
		}
		t := time.NewTimer(pollInterval)
		select {
		case <-t.C:
		case <-w.ctx.Done():
			t.Stop()
			return ", " + w.bound(), false
		}
	}
}

// reportGroup lists the group's deliveries and failed commits.
func (k *Kit) reportGroup(group, topic string) string {
	var b strings.Builder
	all := filter(k.rec.Deliveries(topic), func(d Delivery) bool { return d.Group == group })
	if len(all) == 0 {
		b.WriteString("it had no deliveries\n")
	} else {
		fmt.Fprintf(&b, "deliveries (%d):\n", len(all))
		writeList(&b, all, true, nil)
	}
	failed := filter(k.rec.Commits(topic), func(c Commit) bool { return c.Group == group && c.Err != nil })
	if len(failed) > 0 {
		fmt.Fprintf(&b, "failed commits (%d):\n", len(failed))
		for _, c := range lastShown(&b, failed) {
			fmt.Fprintf(&b, "  offset %d in partition %d: %s (%s)\n", c.Offset, c.Partition, excerpt(oneLine(c.Err), 200), bus.CodeOf(c.Err))
		}
	}
	return strings.TrimSuffix(b.String(), "\n")
}
