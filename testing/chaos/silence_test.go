package chaos_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/trunkline/trunkline/testing/chaos"
)

func TestSilences(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var s tale
		s.published(message("a", 1), 0)
		s.handled(1, message("a", 1), 0)
		time.Sleep(3 * time.Second)
		s.published(message("a", 2), 1)
		time.Sleep(time.Second)
		s.handled(1, message("a", 1), 0) // again: no news
		time.Sleep(time.Second)
		s.handled(1, message("a", 2), 1)
		time.Sleep(2 * time.Second)
		s.published(message("a", 3), 2)

		second := time.Second
		silences := func(stream string, from, to time.Duration) []chaos.Silence {
			return chaos.Silences(&s.History, stream, 2, from*second, to*second)
		}
		require.Equal(t, []chaos.Silence{
			{Partition: 0, From: 3 * second, Length: 4 * second}, {Partition: 1, From: 0, Length: 7 * second},
		}, silences(chaos.Publishing, 0, 7))
		require.Equal(t, chaos.Silence{Partition: 0, From: 0, Length: 5 * second}, silences(group, 0, 7)[0])
		require.Equal(t, chaos.Silence{Partition: 0, From: 1 * second, Length: 2 * second}, silences(chaos.Publishing, 1, 4)[0], "only what is in between")
		require.Equal(t, chaos.Silence{Partition: 0, From: 3 * second, Length: 3 * second}, silences(chaos.Publishing, 2, 6)[0], "up to the end")
		require.Equal(t, chaos.Silence{Partition: 1, From: 0, Length: 7 * second}, chaos.Longest(silences(group, 0, 7)))
		require.Zero(t, chaos.Longest(nil))
	})
}

func TestReport(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var s tale
		s.log(1)
		s.handled(1, message("a", 1), 0)
		time.Sleep(time.Second)
		s.published(message("a", 2), 1)
		s.handled(2, message("a", 1), 0)
		s.handled(2, message("a", 2), 1)
		time.Sleep(time.Second)
		s.Steps = []chaos.Step{
			{Name: "calm", To: time.Second / 2},
			{Name: "kill", From: time.Second / 2, To: 2 * time.Second, Marks: []chaos.Mark{{Name: "flowing", At: time.Second}}},
		}
		report := chaos.Report(&s.History, 1, group)
		require.Len(t, report, 2)
		require.Equal(t, []int{1, 0}, []int{report[0].Acknowledged, report[0].Duplicated})
		require.Equal(t, []int{1, 1}, []int{report[1].Acknowledged, report[1].Duplicated})
		publishing, delivery := report[1].Longest()
		require.Equal(t, time.Second, publishing)
		require.Equal(t, time.Second, delivery)
		require.Contains(t, report[1].String(), "flowing at +0.5 s")
		require.Contains(t, report[1].String(), "partition 0: publishing  1.00 s (from +0.50 s); delivery  1.00 s (from +0.50 s)")
	})
}
