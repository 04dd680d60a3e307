package soak

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// runWithoutViolation records a run of four messages of one key in one partition.
func runWithoutViolation(c *checker) {
	c.publish(4)
	for m := range 4 {
		c.start(m, "m")
		c.finish(m, 0, int64(m), m == 3)
	}
	c.commit("m", 0, 4, nil)
}

func TestEachRuleFindsItsViolation(t *testing.T) {
	t.Parallel()
	everything := map[int]int{3: 1}
	for name, tt := range map[string]struct {
		do   func(c *checker)
		dead map[int]int
		want []string
	}{
		"none": {runWithoutViolation, everything, nil},
		"redelivered": {func(c *checker) {
			runWithoutViolation(c)
			c.start(0, "n")
			c.finish(0, 0, 0, false)
			c.commit("n", 0, 1, nil)
		}, everything, nil},
		"lost": {func(c *checker) {
			c.start(0, "m")
			c.finish(0, 0, 0, false)
			c.start(1, "m")
			c.finish(2, 1, 0, false)
			c.commit("m", 0, 1, nil)
			c.commit("m", 1, 1, nil)
		}, nil, []string{"lost: message 1 was started 1 times, but never done", "lost: message 3 was started 0 times, but never done"}},
		"a dead letter is lost": {runWithoutViolation, map[int]int{},
			[]string{"lost: message 3 was reported as a dead letter, but is not in the dead-letter topic"}},
		"out of order": {func(c *checker) {
			c.start(2, "m")
			runWithoutViolation(c)
		}, everything, []string{"out of order: m started message 2 before message 1 of the same key was done"}},
		"the second message of a key before the first": {func(c *checker) {
			c.start(1, "m")
			runWithoutViolation(c)
		}, everything, []string{"out of order: m started message 1 before message 0 of the same key was done"}},
		"none: done in another order": {func(c *checker) {
			for _, offset := range []int64{1, 3, 2, 0} {
				c.finish(int(offset), 0, offset, offset == 3)
			}
			c.commit("m", 0, 4, nil)
		}, everything, nil},
		"none: the dead-letter topic was not read": {runWithoutViolation, nil, nil},
		"uncommitted after a failed commit": {func(c *checker) {
			runWithoutViolation(c)
			c.finish(0, 1, 0, false)
			c.commit("m", 1, 1, errors.New("the commit failed"))
		}, everything, []string{"uncommitted: partition 1 is done up to offset 1, but committed up to 0",
			"uncommitted: the log has 4 messages, but the partitions are done up to 5 messages in all"}},
		"premature commit": {func(c *checker) {
			c.commit("m", 0, 1, errors.New("a failed commit counts too"))
			runWithoutViolation(c)
		}, everything, []string{"premature commit: m committed offset 1 in partition 0 before offset 0 was done"}},
		"premature commit above a gap": {func(c *checker) {
			c.finish(1, 0, 1, false)
			c.commit("m", 0, 2, nil)
			runWithoutViolation(c)
		}, everything, []string{"premature commit: m committed offset 2 in partition 0 before offset 0 was done"}},
		"uncommitted": {func(c *checker) {
			runWithoutViolation(c)
			c.partitions[0].committed = 3
		}, everything, []string{"uncommitted: partition 0 is done up to offset 4, but committed up to 3"}},
		"offsets that are never done": {func(c *checker) {
			for m := range 4 {
				c.start(m, "m")
				c.finish(m, 0, int64(2*m), m == 3)
			}
			c.commit("m", 0, 1, nil)
		}, everything, []string{"lost: partition 0 is done up to offset 1, and at 3 offsets above it",
			"uncommitted: the log has 4 messages, but the partitions are done up to 1 messages in all"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			checker := newChecker(4, 2)
			tt.do(checker)
			checker.checkEnd(tt.dead)
			require.Equal(t, tt.want, checker.violationTexts())
		})
	}
}

func TestViolationsAreBounded(t *testing.T) {
	t.Parallel()
	checker := newChecker(100, 1)
	require.Equal(t, 100, checker.checkEnd(nil))
	rules := checker.violationTexts()
	require.Len(t, rules, 21)
	require.Equal(t, "and 80 more", rules[20])
}

func TestPublishLimitIsTheLowestBound(t *testing.T) {
	t.Parallel()
	c := newChecker(10, 2)
	limit := func(maxUnhandled int) int { n, _ := c.publishLimit(maxUnhandled); return n }
	require.Zero(t, limit(5), "nothing is allowed yet")
	c.allow(3)
	require.Equal(t, 3, limit(5), "the events bound it")
	c.allow(100)
	require.Equal(t, 5, limit(5), "the messages that are not done bound it")
	require.Equal(t, 10, limit(50), "the messages of the plan bound it")
	c.finish(0, 0, 0, false)
	require.Equal(t, 6, limit(5))
}

func TestProgressCountsEachMessageOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := newChecker(2, 2)
		c.publish(2)
		_, _, changed := c.progress()
		time.Sleep(2 * time.Second)
		c.finish(0, 0, 0, false)
		require.True(t, closed(changed))
		time.Sleep(time.Second)
		c.finish(0, 0, 0, false)
		published, done, _ := c.progress()
		require.Equal(t, []int{2, 1}, []int{published, done})
		require.Equal(t, 1, c.changeCount())
		c.finish(1, 0, 1, false)
		require.Equal(t, 2*time.Second, c.longestOutage, "each outage is measured on its own")
	})
}

func closed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

func TestHandlerThatRunsAfterAStopIsAViolation(t *testing.T) {
	t.Parallel()
	m := &member{name: "m", run: &run{checker: newChecker(1, 1)}}
	m.checkIdle("a close")
	require.Empty(t, m.run.checker.violationTexts())
	m.handling.Add(1)
	m.checkIdle("a close")
	require.Equal(t, []string{"running: 1 handlers of m ran after a close"}, m.run.checker.violationTexts())
}

func TestReportShowsTheFigures(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := &run{plan: Plan{Seed: 7}, checker: newChecker(4, 2), eventCounts: map[string]int{"kill": 2, "join": 1}}
		time.Sleep(time.Second)
		r.checker.start(0, "m")
		r.checker.fail()
		require.False(t, r.checker.complete())
		runWithoutViolation(r.checker)
		require.True(t, r.checker.complete())
		r.checker.partition(0).committed--
		require.False(t, r.checker.complete(), "the last message is not committed")
		r.checker.partition(0).committed++
		r.checker.start(0, "m")
		report := r.report(map[int]int{3: 2})
		report.Duration = 2 * time.Second
		require.Equal(t, `seed 7: 4 published, 3 handled, 1 dead-lettered, 0 lost
6 handlings, 1 failed (16.7 %), 1 redelivered
3 events: join 1, kill 2
longest outage 1s, duration 2s`, report.String())
	})
}

func TestPreviousOfKey(t *testing.T) {
	t.Parallel()
	const keys = 3
	last := map[int]int{}
	for m := range 1000 {
		before, ok := last[keyOf(m, keys)]
		require.Equal(t, ok, previousOfKey(m, keys) >= 0, m)
		if ok {
			require.Equal(t, before, previousOfKey(m, keys))
		}
		last[keyOf(m, keys)] = m
	}
	require.Len(t, last, keys)
}

func TestHandlingDependsOnTheSeedOnly(t *testing.T) {
	t.Parallel()
	p, q := Plan{Seed: 1}, Plan{Seed: 2}
	failed, other, always := 0, 0, 0
	for m := range 100_000 {
		fails, _ := p.handling(m, 1)
		again, _ := p.handling(m, 1)
		require.Equal(t, fails, again)
		if fails {
			failed++
		}
		second, _ := p.handling(m, 2)
		third, _ := p.handling(m, 3)
		if fails && second && third {
			always++
		}
		if o, _ := q.handling(m, 1); o != fails {
			other++
		}
	}
	require.InDelta(t, 5200, failed, 500)
	require.InDelta(t, 200, always, 60, "one message in 500 fails each time")
	require.Greater(t, other, 5000)
}
