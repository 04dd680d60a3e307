package chaos_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/trunkline/trunkline/testing/chaos"
)

func TestOutagesAreMeasuredPerPartition(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var b builder
		b.acknowledged(message("a", 1), 0)
		b.handled(1, message("a", 1), 0)
		time.Sleep(3 * time.Second)
		b.acknowledged(message("a", 2), 1)
		time.Sleep(time.Second)
		b.handled(1, message("a", 1), 0) // handled again: no progress
		b.Record(chaos.Event{Kind: chaos.Handled, Message: message("a", 2), Place: place(1), Group: "other", Claim: 9})
		b.record(chaos.Acknowledged, message("a", 9), chaos.Place{Partition: -1, Offset: -1})
		time.Sleep(time.Second)
		b.handled(1, message("a", 2), 1)
		time.Sleep(2 * time.Second)
		b.acknowledged(message("a", 3), 2)

		second := time.Second
		outages := func(stream string, from, to time.Duration) []chaos.Outage {
			return chaos.Outages(&b.History, stream, 2, from*second, to*second)
		}
		require.Equal(t, []chaos.Outage{
			{Partition: 0, From: 3 * second, Length: 4 * second}, {Partition: 1, From: 0, Length: 7 * second},
		}, outages(chaos.Publishing, 0, 7))
		require.Equal(t, chaos.Outage{Partition: 0, From: 0, Length: 5 * second}, outages(group, 0, 7)[0])
		require.Equal(t, chaos.Outage{Partition: 0, From: 1 * second, Length: 2 * second}, outages(chaos.Publishing, 1, 4)[0], "only the time between from and to counts")
		require.Equal(t, chaos.Outage{Partition: 0, From: 3 * second, Length: 3 * second}, outages(chaos.Publishing, 2, 6)[0], "an outage that lasts beyond the end")
		require.Equal(t, chaos.Outage{Partition: 1, From: 0, Length: 7 * second}, chaos.LongestOutage(outages(group, 0, 7)))
		require.Zero(t, chaos.LongestOutage(nil))
	})
}

func TestReportCountsTheEventsOfEachStep(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var b builder
		b.publish(1)
		b.handled(1, message("a", 1), 0)
		time.Sleep(time.Second)
		b.acknowledged(message("a", 2), 1)
		b.handled(2, message("a", 1), 0)
		b.handled(2, message("a", 2), 1)
		b.Record(chaos.Event{Kind: chaos.Handled, Message: message("a", 2), Place: place(1), Group: "other", Claim: 9})
		b.record(chaos.Failed, message("a", 3), place(-1))
		b.record(chaos.Unknown, message("a", 4), place(-1))
		b.record(chaos.Unknown, message("a", 5), place(-1))
		time.Sleep(time.Second)
		b.Steps = []chaos.Step{
			{Name: "calm", To: time.Second / 2},
			{Name: "kill", From: time.Second / 2, To: 2 * time.Second, Marks: []chaos.Mark{{Name: "messages flow", At: time.Second}}},
		}
		report := chaos.Report(&b.History, 1, group)
		require.Len(t, report, 2)
		require.Equal(t, []int{1, 0}, []int{report[0].Acknowledged, report[0].Repeated})
		require.Equal(t, []int{1, 1}, []int{report[1].Acknowledged, report[1].Repeated})
		require.Equal(t, []int{0, 0}, []int{report[0].Failed, report[0].Unknown})
		require.Equal(t, []int{1, 2}, []int{report[1].Failed, report[1].Unknown})
		publishing, delivery := report[1].Longest()
		require.Equal(t, time.Second, publishing)
		require.Equal(t, time.Second, delivery)
		require.Contains(t, report[1].String(), "messages flow at +0.5 s")
		require.Contains(t, report[1].String(), "partition 0: publishing  1.00 s (from +0.50 s); delivery  1.00 s (from +0.50 s)")
	})
}
