package chaos_test

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/trunkline/trunkline/testing/chaos"
)

// tale makes up histories. Its methods add to one in which all is well; a test then leaves
// out, adds or swaps one thing, which must be found.
type tale struct{ chaos.History }

const group = "g"

func message(key string, n int64) chaos.Message { return chaos.Message{Key: key, Number: n} }

func place(offset int64) chaos.Place { return chaos.Place{Partition: 0, Offset: offset} }

func (s *tale) tell(kind chaos.Kind, m chaos.Message, p chaos.Place) {
	s.Record(chaos.Event{Kind: kind, Message: m, Place: p})
}

// published tells that m was acknowledged and is in the log.
func (s *tale) published(m chaos.Message, offset int64) {
	s.tell(chaos.Published, m, chaos.Place{Partition: -1, Offset: -1})
	s.tell(chaos.Acknowledged, m, place(offset))
	s.Log = append(s.Log, chaos.Entry{Message: m, Place: place(offset)})
}

func (s *tale) consumer(kind chaos.Kind, claim int, m chaos.Message, offset int64) {
	s.Record(chaos.Event{Kind: kind, Message: m, Place: place(offset), Group: group, Claim: claim})
}

// handled tells that a claim delivered m and its handler was content.
func (s *tale) handled(claim int, m chaos.Message, offset int64) {
	s.consumer(chaos.Begun, claim, m, offset)
	s.consumer(chaos.Handled, claim, m, offset)
}

func (s *tale) committed(next int64) {
	s.Record(chaos.Event{Kind: chaos.Committed, Place: place(next), Group: group})
}

// log publishes a#1, a#2, … at 0, 1, …
func (s *tale) log(n int64) {
	for i := range n {
		s.published(message("a", i+1), i)
	}
}

func TestFinds(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		tell func(*tale)
		want []chaos.Rule
	}{
		"nothing": {func(s *tale) {
			s.log(3)
			s.handled(1, message("a", 1), 0)
			s.handled(1, message("a", 2), 1)
			s.committed(2)
			s.handled(1, message("a", 3), 2)
			s.committed(3)
			s.Positions = map[string]map[int32]int64{group: {0: 3}}
		}, nil},
		"nothing: redelivered by the next claim from the committed position on": {func(s *tale) {
			s.log(3)
			s.handled(1, message("a", 1), 0)
			s.committed(1)
			s.handled(1, message("a", 2), 1)
			s.handled(2, message("a", 2), 1)
			s.handled(2, message("a", 3), 2)
		}, nil},
		"nothing: a member that does not know that it lost its partition": {func(s *tale) {
			s.log(4)
			s.handled(1, message("a", 1), 0)
			s.handled(1, message("a", 2), 1)
			s.handled(2, message("a", 1), 0)
			s.handled(1, message("a", 3), 2)
			s.handled(2, message("a", 2), 1)
			s.committed(2)
			s.handled(1, message("a", 4), 3)
			s.handled(2, message("a", 3), 2)
			s.handled(2, message("a", 4), 3)
		}, nil},
		"nothing: refused, then handled": {func(s *tale) {
			s.log(1)
			s.consumer(chaos.Begun, 1, message("a", 1), 0)
			s.consumer(chaos.Refused, 1, message("a", 1), 0)
			s.handled(1, message("a", 1), 0)
		}, nil},
		"nothing: keys side by side": {func(s *tale) {
			s.published(message("a", 1), 0)
			s.published(message("b", 1), 1)
			s.consumer(chaos.Begun, 1, message("b", 1), 1)
			s.consumer(chaos.Begun, 1, message("a", 1), 0)
			s.consumer(chaos.Handled, 1, message("a", 1), 0)
			s.committed(1)
			s.consumer(chaos.Handled, 1, message("b", 1), 1)
			s.committed(2)
		}, nil},
		"nothing: unknown and not in the log, failed and not in the log": {func(s *tale) {
			s.tell(chaos.Published, message("a", 1), place(-1))
			s.tell(chaos.Unknown, message("a", 1), place(-1))
			s.tell(chaos.Published, message("a", 2), place(-1))
			s.tell(chaos.Failed, message("a", 2), place(-1))
			s.published(message("a", 3), 0)
			s.handled(1, message("a", 3), 0)
		}, nil},
		"acknowledged and not in the log": {func(s *tale) {
			s.log(2)
			s.Log = s.Log[:1]
			s.handled(1, message("a", 1), 0)
		}, []chaos.Rule{chaos.Lost}},
		"in the log twice": {func(s *tale) {
			s.log(1)
			s.Log = append(s.Log, chaos.Entry{Message: message("a", 1), Place: place(1)})
			s.handled(1, message("a", 1), 0)
			s.handled(1, message("a", 1), 1)
		}, []chaos.Rule{chaos.Repeated}},
		"told as not sent, and in the log": {func(s *tale) {
			s.tell(chaos.Published, message("a", 1), place(-1))
			s.tell(chaos.Failed, message("a", 1), place(-1))
			s.Log = []chaos.Entry{{Message: message("a", 1), Place: place(0)}}
			s.handled(1, message("a", 1), 0)
		}, []chaos.Rule{chaos.Untrue}},
		"acknowledged at another place": {func(s *tale) {
			s.log(1)
			s.Log[0].Place.Offset = 5
			s.handled(1, message("a", 1), 5)
		}, []chaos.Rule{chaos.Untrue}},
		"in the log, published by nobody": {func(s *tale) {
			s.Log = []chaos.Entry{{Message: message("a", 1), Place: place(0)}}
			s.handled(1, message("a", 1), 0)
		}, []chaos.Rule{chaos.Untrue}},
		"delivered and not in the log": {func(s *tale) {
			s.log(1)
			s.handled(1, message("a", 1), 0)
			s.handled(1, message("a", 2), 1)
		}, []chaos.Rule{chaos.Untrue}},
		"the log out of order": {func(s *tale) {
			s.published(message("a", 2), 0)
			s.published(message("a", 1), 1)
			s.handled(1, message("a", 2), 0)
			s.handled(1, message("a", 1), 1)
		}, []chaos.Rule{chaos.Scrambled, chaos.Disordered}},
		"a key in two partitions": {func(s *tale) {
			s.log(1)
			s.Log = append(s.Log, chaos.Entry{Message: message("a", 2), Place: chaos.Place{Partition: 1}})
			s.tell(chaos.Published, message("a", 2), place(-1))
			s.handled(1, message("a", 1), 0)
			e := chaos.Event{Kind: chaos.Begun, Message: message("a", 2), Place: chaos.Place{Partition: 1}, Group: group, Claim: 2}
			s.Record(e)
			e.Kind = chaos.Handled
			s.Record(e)
		}, []chaos.Rule{chaos.Scrambled}},
		"never delivered": {func(s *tale) {
			s.log(2)
			s.handled(1, message("a", 1), 0)
		}, []chaos.Rule{chaos.Undelivered}},
		"begun and never handled": {func(s *tale) {
			s.log(1)
			s.consumer(chaos.Begun, 1, message("a", 1), 0)
		}, []chaos.Rule{chaos.Undelivered}},
		"delivered out of order, by two claims": {func(s *tale) {
			s.log(2)
			s.handled(1, message("a", 2), 1)
			s.handled(2, message("a", 1), 0)
		}, []chaos.Rule{chaos.Disordered}},
		"delivered out of order, by one claim": {func(s *tale) {
			s.log(2)
			s.handled(1, message("a", 2), 1)
			s.handled(1, message("a", 1), 0)
		}, []chaos.Rule{chaos.Disordered, chaos.Overlapping}},
		"two of a key at once": {func(s *tale) {
			s.log(2)
			s.consumer(chaos.Begun, 1, message("a", 1), 0)
			s.consumer(chaos.Begun, 1, message("a", 2), 1)
			s.consumer(chaos.Handled, 1, message("a", 1), 0)
			s.consumer(chaos.Handled, 1, message("a", 2), 1)
		}, []chaos.Rule{chaos.Overlapping}},
		"gone on after a refusal": {func(s *tale) {
			s.log(2)
			s.consumer(chaos.Begun, 1, message("a", 1), 0)
			s.consumer(chaos.Refused, 1, message("a", 1), 0)
			s.handled(1, message("a", 2), 1)
			s.handled(2, message("a", 1), 0)
			s.handled(2, message("a", 2), 1)
		}, []chaos.Rule{chaos.Overlapping}},
		"handled again by the same claim": {func(s *tale) {
			s.log(1)
			s.handled(1, message("a", 1), 0)
			s.handled(1, message("a", 1), 0)
		}, []chaos.Rule{chaos.Overlapping}},
		"redelivered over a commit": {func(s *tale) {
			s.log(2)
			s.handled(1, message("a", 1), 0)
			s.handled(1, message("a", 2), 1)
			s.committed(2)
			s.handled(2, message("a", 2), 1)
		}, []chaos.Rule{chaos.Rewound}},
		"a commit too far": {func(s *tale) {
			s.log(2)
			s.handled(1, message("a", 1), 0)
			s.committed(2)
			s.handled(1, message("a", 2), 1)
		}, []chaos.Rule{chaos.Premature}},
		"a commit over one that is still at work": {func(s *tale) {
			s.published(message("a", 1), 0)
			s.published(message("b", 1), 1)
			s.consumer(chaos.Begun, 1, message("a", 1), 0)
			s.handled(1, message("b", 1), 1)
			s.committed(2)
			s.consumer(chaos.Handled, 1, message("a", 1), 0)
		}, []chaos.Rule{chaos.Premature}},
		"an attempt at a commit too far": {func(s *tale) {
			s.log(1)
			s.Record(chaos.Event{Kind: chaos.Uncommitted, Place: place(1), Group: group})
			s.handled(1, message("a", 1), 0)
		}, []chaos.Rule{chaos.Premature}},
		"a commit past the log": {func(s *tale) {
			s.log(1)
			s.handled(1, message("a", 1), 0)
			s.committed(2)
		}, []chaos.Rule{chaos.Premature}},
		"a position at the end that nobody was told of": {func(s *tale) {
			s.log(2)
			s.handled(1, message("a", 1), 0)
			s.Positions = map[string]map[int32]int64{group: {0: 2}}
		}, []chaos.Rule{chaos.Undelivered, chaos.Premature}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var s tale
			tt.tell(&s)
			var got []chaos.Rule
			for _, v := range chaos.Check(&s.History, group) {
				got = append(got, v.Rule)
				require.NotEmpty(t, v.Detail)
			}
			require.ElementsMatch(t, tt.want, got)
		})
	}
}

// A group that was never heard of has not handled anything.
func TestFindsAGroupThatSleeps(t *testing.T) {
	t.Parallel()
	var s tale
	s.log(2)
	require.Empty(t, chaos.Check(&s.History))
	found := chaos.Check(&s.History, "sleeper")
	require.Len(t, found, 2)
	require.Equal(t, "undelivered: group sleeper: a#1 at 0@0: in the log and never handled", found[0].String())
	require.Equal(t, 2, chaos.Count(&s.History, "sleeper").Lost)
}

func TestCount(t *testing.T) {
	t.Parallel()
	var s tale
	s.log(3)
	s.tell(chaos.Published, message("b", 1), place(-1))
	s.tell(chaos.Unknown, message("b", 1), place(-1))
	s.tell(chaos.Acknowledged, message("b", 1), place(3))
	s.tell(chaos.Published, message("b", 2), place(-1))
	s.tell(chaos.Failed, message("b", 2), place(-1))
	s.Log = append(s.Log, chaos.Entry{Message: message("b", 1), Place: place(3)})
	for i := range int64(3) {
		s.handled(1, message("a", i+1), i)
	}
	s.committed(1)
	s.handled(2, message("a", 3), 2)
	s.consumer(chaos.Begun, 2, message("b", 1), 3)
	s.consumer(chaos.Refused, 2, message("b", 1), 3)
	require.Equal(t, chaos.Figures{
		Published: 5, Acknowledged: 3, Unknown: 1, Resolved: 1, Failed: 1, Lost: 1,
		Groups: map[string]chaos.GroupFigures{group: {Delivered: 3, Duplicated: 1, Refused: 1, Claims: 2, Commits: 1}},
	}, chaos.Count(&s.History, group))
}

func ExampleCheck() {
	var h chaos.History
	m := chaos.Message{Key: "device-42", Number: 1}
	at := chaos.Place{Partition: 3, Offset: 0}
	h.Record(chaos.Event{Kind: chaos.Published, Message: m})
	h.Record(chaos.Event{Kind: chaos.Acknowledged, Message: m, Place: at})
	h.Log = []chaos.Entry{{Message: m, Place: at}}
	h.Record(chaos.Event{Kind: chaos.Begun, Message: m, Place: at, Group: "core", Claim: 1})
	h.Record(chaos.Event{Kind: chaos.Committed, Place: chaos.Place{Partition: 3, Offset: 1}, Group: "core"})
	h.Record(chaos.Event{Kind: chaos.Handled, Message: m, Place: at, Group: "core", Claim: 1})
	for _, v := range chaos.Check(&h) {
		fmt.Println(v)
	}
	// Output: premature: group core: device-42#1 at 3@0: not handled yet, and a commit is at 1
}
