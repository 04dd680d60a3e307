package bustest

import (
	"fmt"
	"strings"
	"time"

	"github.com/trunkline/trunkline/bus"
)

// Position returns what a group has committed in a partition: everything below is
// acknowledged. It is 0 when it has not committed anything.
func (k *Kit) Position(group, topic string, partition int32) int64 {
	next, _, _ := k.log.Committed(group, topic, partition)
	return next
}

// Lag returns how many records of the topic a group has not acknowledged yet, as far as it
// has committed that.
func (k *Kit) Lag(group, topic string) int64 {
	var lag int64
	for p := int32(0); ; p++ {
		oldest, end, err := k.log.Offsets(topic, p)
		if err != nil {
			return lag
		}
		lag += end - max(oldest, k.Position(group, topic, p))
	}
}

// ExpectPosition waits until a group has committed this position in a partition, and fails
// the test when it does not in time, or has gone beyond.
func (k *Kit) ExpectPosition(group, topic string, partition int32, next int64) {
	k.t.Helper()
	var is int64
	bound, ok := k.until(func() (done, over bool) {
		is = k.Position(group, topic, partition)
		return is == next, is > next
	})
	if !ok {
		k.t.Fatalf("bustest: group %q is at %d in partition %d of %q, want %d%s\n%s", group, is, partition, topic, next, bound, k.acknowledgements(group, topic))
	}
}

// ExpectLag waits until a group has left this many records of the topic unacknowledged; 0
// is that it is through. When that does not come in time the test fails.
func (k *Kit) ExpectLag(group, topic string, records int64) {
	k.t.Helper()
	var is int64
	bound, ok := k.until(func() (done, over bool) {
		is = k.Lag(group, topic)
		return is == records, false
	})
	if !ok {
		k.t.Fatalf("bustest: group %q is %d records behind on %q, want %d%s\n%s", group, is, topic, records, bound, k.acknowledgements(group, topic))
	}
}

// until waits until it is done; over says that it can't be any more.
func (k *Kit) until(look func() (done, over bool)) (bound string, ok bool) {
	w := k.wait()
	defer w.end()
	for {
		switch done, over := look(); {
		case done:
			return "", true
		case over:
			return "", false
		}
		t := time.NewTimer(pollEvery)
		select {
		case <-t.C:
		case <-w.ctx.Done():
			t.Stop()
			return ", " + w.bound(), false
		}
	}
}

// acknowledgements tells how the group got on.
func (k *Kit) acknowledgements(group, topic string) string {
	var b strings.Builder
	all := filter(k.rec.Deliveries(topic), func(d Delivery) bool { return d.Group == group })
	if len(all) == 0 {
		b.WriteString("nothing was delivered to it\n")
	} else {
		fmt.Fprintf(&b, "deliveries (%d):\n", len(all))
		list(&b, all, true, nil)
	}
	failed := filter(k.rec.Commits(topic), func(c Commit) bool { return c.Group == group && c.Err != nil })
	if len(failed) > 0 {
		fmt.Fprintf(&b, "not committed (%d):\n", len(failed))
		for _, c := range last(&b, failed) {
			fmt.Fprintf(&b, "  to %d in partition %d: %s (%s)\n", c.Next, c.Partition, excerpt(oneLine(c.Err), 200), bus.CodeOf(c.Err))
		}
	}
	return strings.TrimSuffix(b.String(), "\n")
}
