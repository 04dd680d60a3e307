package soak

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// Four messages of one key in one partition.
func well(t *tally) {
	t.publish(4)
	for m := range 4 {
		t.begin(m, "m")
		t.finish(m, 0, int64(m), m == 3)
	}
	t.commit("m", 0, 4, nil)
}

// A rule that can't be broken is none.
func TestEachRuleCanBeBroken(t *testing.T) {
	t.Parallel()
	everything := map[int]int{3: 1}
	for name, tt := range map[string]struct {
		do   func(t *tally)
		dead map[int]int
		want []string
	}{
		"none": {well, everything, nil},
		"redelivered": {func(t *tally) {
			well(t)
			t.begin(0, "n")
			t.finish(0, 0, 0, false)
			t.commit("n", 0, 1, nil)
		}, everything, nil},
		"lost": {func(t *tally) {
			t.begin(0, "m")
			t.finish(0, 0, 0, false)
			t.begin(1, "m")
			t.finish(2, 1, 0, false)
			t.commit("m", 0, 1, nil)
			t.commit("m", 1, 1, nil)
		}, nil, []string{"lost: message 1 was begun 1 times and never done", "lost: message 3 was begun 0 times and never done"}},
		"a dead letter is lost": {well, map[int]int{},
			[]string{"lost: message 3 was acknowledged as dead-lettered and is not in the dead-letter topic"}},
		"skipped": {func(t *tally) {
			t.begin(2, "m")
			well(t)
		}, everything, []string{"skipped: m began message 2 when message 1, which is before it in its key, was not done"}},
		"premature": {func(t *tally) {
			t.commit("m", 0, 1, errors.New("whether it takes or not"))
			well(t)
		}, everything, []string{"premature: m committed 1 in partition 0, and 0 was not done"}},
		"a gap": {func(t *tally) {
			t.finish(1, 0, 1, false)
			t.commit("m", 0, 2, nil)
			well(t)
		}, everything, []string{"premature: m committed 2 in partition 0, and 0 was not done"}},
		"uncommitted": {func(t *tally) {
			well(t)
			t.parts[0].committed = 3
		}, everything, []string{"uncommitted: partition 0 was done up to 4 and committed up to 3"}},
		"offsets that nobody did": {func(t *tally) {
			for m := range 4 {
				t.begin(m, "m")
				t.finish(m, 0, int64(2*m), m == 3)
			}
			t.commit("m", 0, 1, nil)
		}, everything, []string{"skipped: partition 0 was done up to 1, and 3 messages after that",
			"uncommitted: 4 messages are in the log, and the partitions were done up to 1 in all"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			tally := newTally(4, 2)
			tt.do(tally)
			tally.settle(tt.dead)
			require.Equal(t, tt.want, tally.rules())
		})
	}
}

func TestViolationsAreBounded(t *testing.T) {
	t.Parallel()
	tally := newTally(100, 1)
	require.Equal(t, 100, tally.settle(nil))
	rules := tally.rules()
	require.Len(t, rules, 21)
	require.Equal(t, "and 80 more", rules[20])
}

func TestFiguresOfATally(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := &run{plan: Plan{Seed: 7}, tally: newTally(4, 2), happened: map[string]int{"kill": 2, "join": 1}}
		time.Sleep(time.Second)
		r.tally.begin(0, "m")
		r.tally.fail()
		require.False(t, r.tally.complete())
		well(r.tally)
		require.True(t, r.tally.complete())
		r.tally.begin(0, "m")
		report := r.report(map[int]int{3: 2})
		report.Duration = 2 * time.Second
		require.Equal(t, `seed 7: 4 published, 3 handled, 1 dead-lettered, 0 lost
6 handlings, 1 failed (16.7 %), 1 redelivered
3 events: join 1, kill 2
longest silence 1s, duration 2s`, report.String())
	})
}

func TestMessagesOfAKey(t *testing.T) {
	t.Parallel()
	const keys = 3
	last := map[int]int{}
	for m := range 1000 {
		before, ok := last[keyOf(m, keys)]
		require.Equal(t, ok, inKey(m, keys) >= 0, m)
		if ok {
			require.Equal(t, before, inKey(m, keys))
		}
		last[keyOf(m, keys)] = m
	}
	require.Len(t, last, keys)
}

// The same seed makes the same plan, and one handling in twenty fails.
func TestFate(t *testing.T) {
	t.Parallel()
	p, q := Plan{Seed: 1}, Plan{Seed: 2}
	failed, other := 0, 0
	for m := range 100_000 {
		fails, _ := p.fate(m, 1)
		again, _ := p.fate(m, 1)
		require.Equal(t, fails, again)
		if fails {
			failed++
		}
		if o, _ := q.fate(m, 1); o != fails {
			other++
		}
	}
	require.InDelta(t, 5200, failed, 500)
	require.Greater(t, other, 5000)
}
