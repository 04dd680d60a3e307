package chaos_test

import (
	"fmt"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/trunkline/trunkline/testing/chaos"
)

// builder builds a history. A test builds a history that breaks one rule, and checks that the violation is
// found.
type builder struct{ chaos.History }

const group = "g"

func message(key string, n int64) chaos.Message { return chaos.Message{Key: key, Number: n} }

func place(offset int64) chaos.Place { return chaos.Place{Partition: 0, Offset: offset} }

func (b *builder) record(kind chaos.Kind, m chaos.Message, p chaos.Place) {
	b.Record(chaos.Event{Kind: kind, Message: m, Place: p})
}

// acknowledged adds a message to the log that was published and acknowledged.
func (b *builder) acknowledged(m chaos.Message, offset int64) {
	b.record(chaos.Published, m, chaos.Place{Partition: -1, Offset: -1})
	b.record(chaos.Acknowledged, m, place(offset))
	b.Log = append(b.Log, chaos.Entry{Message: m, Place: place(offset)})
}

func (b *builder) consumer(kind chaos.Kind, claim int, m chaos.Message, offset int64) {
	b.Record(chaos.Event{Kind: kind, Message: m, Place: place(offset), Group: group, Claim: claim})
}

// handled adds a delivery by a claim whose handler succeeded.
func (b *builder) handled(claim int, m chaos.Message, offset int64) {
	b.consumer(chaos.Started, claim, m, offset)
	b.consumer(chaos.Handled, claim, m, offset)
}

func (b *builder) committed(next int64) {
	b.Record(chaos.Event{Kind: chaos.Committed, Place: place(next), Group: group})
}

// publish adds n messages with key a, at the offsets from 0.
func (b *builder) publish(n int64) {
	for i := range n {
		b.acknowledged(message("a", i+1), i)
	}
}

func TestCheckFindsEachViolation(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		build func(*builder)
		want  []chaos.Rule
	}{
		"no violation": {func(b *builder) {
			b.publish(3)
			b.handled(1, message("a", 1), 0)
			b.handled(1, message("a", 2), 1)
			b.committed(2)
			b.handled(1, message("a", 3), 2)
			b.committed(3)
			b.Committed = map[string]map[int32]int64{group: {0: 3}}
		}, nil},
		"no violation: the next claim continues at the committed offset": {func(b *builder) {
			b.publish(3)
			b.handled(1, message("a", 1), 0)
			b.committed(1)
			b.handled(1, message("a", 2), 1)
			b.handled(2, message("a", 2), 1)
			b.handled(2, message("a", 3), 2)
		}, nil},
		"no violation: a member continues after it has lost its partition": {func(b *builder) {
			b.publish(4)
			b.handled(1, message("a", 1), 0)
			b.handled(1, message("a", 2), 1)
			b.handled(2, message("a", 1), 0)
			b.handled(1, message("a", 3), 2)
			b.handled(2, message("a", 2), 1)
			b.committed(2)
			b.handled(1, message("a", 4), 3)
			b.handled(2, message("a", 3), 2)
			b.handled(2, message("a", 4), 3)
		}, nil},
		"no violation: handled after a handler error": {func(b *builder) {
			b.publish(1)
			b.consumer(chaos.Started, 1, message("a", 1), 0)
			b.consumer(chaos.HandlerFailed, 1, message("a", 1), 0)
			b.handled(1, message("a", 1), 0)
		}, nil},
		"no violation: two keys concurrently": {func(b *builder) {
			b.acknowledged(message("a", 1), 0)
			b.acknowledged(message("b", 1), 1)
			b.consumer(chaos.Started, 1, message("b", 1), 1)
			b.consumer(chaos.Started, 1, message("a", 1), 0)
			b.consumer(chaos.Handled, 1, message("a", 1), 0)
			b.committed(1)
			b.consumer(chaos.Handled, 1, message("b", 1), 1)
			b.committed(2)
		}, nil},
		"no violation: unknown or failed, and not in the log": {func(b *builder) {
			b.record(chaos.Published, message("a", 1), place(-1))
			b.record(chaos.Unknown, message("a", 1), place(-1))
			b.record(chaos.Published, message("a", 2), place(-1))
			b.record(chaos.Failed, message("a", 2), place(-1))
			b.acknowledged(message("a", 3), 0)
			b.handled(1, message("a", 3), 0)
		}, nil},
		"acknowledged, but not in the log": {func(b *builder) {
			b.publish(2)
			b.Log = b.Log[:1]
			b.handled(1, message("a", 1), 0)
		}, []chaos.Rule{chaos.Lost}},
		"in the log twice": {func(b *builder) {
			b.publish(1)
			b.Log = append(b.Log, chaos.Entry{Message: message("a", 1), Place: place(1)})
			b.handled(1, message("a", 1), 0)
			b.handled(1, message("a", 1), 1)
		}, []chaos.Rule{chaos.Repeated}},
		"failed, but in the log": {func(b *builder) {
			b.record(chaos.Published, message("a", 1), place(-1))
			b.record(chaos.Failed, message("a", 1), place(-1))
			b.Log = []chaos.Entry{{Message: message("a", 1), Place: place(0)}}
			b.handled(1, message("a", 1), 0)
		}, []chaos.Rule{chaos.WrongOutcome}},
		"acknowledged at another offset": {func(b *builder) {
			b.publish(1)
			b.Log[0].Place.Offset = 5
			b.handled(1, message("a", 1), 5)
		}, []chaos.Rule{chaos.WrongOutcome}},
		"in the log, but never published": {func(b *builder) {
			b.Log = []chaos.Entry{{Message: message("a", 1), Place: place(0)}}
			b.handled(1, message("a", 1), 0)
		}, []chaos.Rule{chaos.Unexplained}},
		"delivered, but not in the log": {func(b *builder) {
			b.publish(1)
			b.handled(1, message("a", 1), 0)
			b.handled(1, message("a", 2), 1)
		}, []chaos.Rule{chaos.Unexplained}},
		"two messages of a key swapped in the log": {func(b *builder) {
			b.acknowledged(message("a", 2), 0)
			b.acknowledged(message("a", 1), 1)
			b.handled(1, message("a", 2), 0)
			b.handled(1, message("a", 1), 1)
		}, []chaos.Rule{chaos.LogOutOfOrder, chaos.DeliveredOutOfOrder}},
		"a key in two partitions": {func(b *builder) {
			b.publish(1)
			b.Log = append(b.Log, chaos.Entry{Message: message("a", 2), Place: chaos.Place{Partition: 1}})
			b.record(chaos.Published, message("a", 2), place(-1))
			b.handled(1, message("a", 1), 0)
			e := chaos.Event{Kind: chaos.Started, Message: message("a", 2), Place: chaos.Place{Partition: 1}, Group: group, Claim: 2}
			b.Record(e)
			e.Kind = chaos.Handled
			b.Record(e)
		}, []chaos.Rule{chaos.LogOutOfOrder}},
		"never delivered": {func(b *builder) {
			b.publish(2)
			b.handled(1, message("a", 1), 0)
		}, []chaos.Rule{chaos.Undelivered}},
		"started, but never handled": {func(b *builder) {
			b.publish(1)
			b.consumer(chaos.Started, 1, message("a", 1), 0)
		}, []chaos.Rule{chaos.Undelivered}},
		"delivered out of order, by two claims": {func(b *builder) {
			b.publish(2)
			b.handled(1, message("a", 2), 1)
			b.handled(2, message("a", 1), 0)
		}, []chaos.Rule{chaos.DeliveredOutOfOrder}},
		"delivered out of order, by one claim": {func(b *builder) {
			b.publish(2)
			b.handled(1, message("a", 2), 1)
			b.handled(1, message("a", 1), 0)
		}, []chaos.Rule{chaos.DeliveredOutOfOrder, chaos.Overlapping}},
		"two handlers of a key concurrently": {func(b *builder) {
			b.publish(2)
			b.consumer(chaos.Started, 1, message("a", 1), 0)
			b.consumer(chaos.Started, 1, message("a", 2), 1)
			b.consumer(chaos.Handled, 1, message("a", 1), 0)
			b.consumer(chaos.Handled, 1, message("a", 2), 1)
		}, []chaos.Rule{chaos.Overlapping}},
		"the next message after a handler error": {func(b *builder) {
			b.publish(2)
			b.consumer(chaos.Started, 1, message("a", 1), 0)
			b.consumer(chaos.HandlerFailed, 1, message("a", 1), 0)
			b.handled(1, message("a", 2), 1)
			b.handled(2, message("a", 1), 0)
			b.handled(2, message("a", 2), 1)
		}, []chaos.Rule{chaos.Overlapping}},
		"handled again by the same claim": {func(b *builder) {
			b.publish(1)
			b.handled(1, message("a", 1), 0)
			b.handled(1, message("a", 1), 0)
		}, []chaos.Rule{chaos.Overlapping}},
		"redelivered below the committed offset": {func(b *builder) {
			b.publish(2)
			b.handled(1, message("a", 1), 0)
			b.handled(1, message("a", 2), 1)
			b.committed(2)
			b.handled(2, message("a", 2), 1)
		}, []chaos.Rule{chaos.Rewound}},
		"a commit above an unhandled message": {func(b *builder) {
			b.publish(2)
			b.handled(1, message("a", 1), 0)
			b.committed(2)
			b.handled(1, message("a", 2), 1)
		}, []chaos.Rule{chaos.PrematureCommit}},
		"a commit above a running handler": {func(b *builder) {
			b.acknowledged(message("a", 1), 0)
			b.acknowledged(message("b", 1), 1)
			b.consumer(chaos.Started, 1, message("a", 1), 0)
			b.handled(1, message("b", 1), 1)
			b.committed(2)
			b.consumer(chaos.Handled, 1, message("a", 1), 0)
		}, []chaos.Rule{chaos.PrematureCommit}},
		"a failed commit above an unhandled message": {func(b *builder) {
			b.publish(1)
			b.Record(chaos.Event{Kind: chaos.CommitFailed, Place: place(1), Group: group})
			b.handled(1, message("a", 1), 0)
		}, []chaos.Rule{chaos.PrematureCommit}},
		"a commit beyond the end of the log": {func(b *builder) {
			b.publish(1)
			b.handled(1, message("a", 1), 0)
			b.committed(2)
		}, []chaos.Rule{chaos.PrematureCommit}},
		"no violation: the log is given in another order": {func(b *builder) {
			b.publish(3)
			slices.Reverse(b.Log)
			for i := range int64(3) {
				b.handled(1, message("a", i+1), i)
				b.committed(i + 1)
			}
		}, nil},
		"failed and acknowledged": {func(b *builder) {
			b.publish(1)
			b.record(chaos.Failed, message("a", 1), place(-1))
			b.handled(1, message("a", 1), 0)
		}, []chaos.Rule{chaos.WrongOutcome}},
		"the second and third message of a key swapped in the log": {func(b *builder) {
			b.acknowledged(message("a", 1), 0)
			b.acknowledged(message("a", 3), 1)
			b.acknowledged(message("a", 2), 2)
			b.handled(1, message("a", 1), 0)
			b.handled(1, message("a", 3), 1)
			b.handled(1, message("a", 2), 2)
		}, []chaos.Rule{chaos.LogOutOfOrder, chaos.DeliveredOutOfOrder}},
		"a key alternates between two partitions": {func(b *builder) {
			b.acknowledged(message("a", 1), 0)
			b.acknowledged(message("a", 3), 2)
			b.record(chaos.Published, message("a", 2), place(-1))
			b.Log = append(b.Log, chaos.Entry{Message: message("a", 2), Place: chaos.Place{Partition: 1, Offset: 1}})
			b.handled(1, message("a", 1), 0)
			e := chaos.Event{Kind: chaos.Started, Message: message("a", 2), Place: chaos.Place{Partition: 1, Offset: 1}, Group: group, Claim: 2}
			b.Record(e)
			e.Kind = chaos.Handled
			b.Record(e)
			b.handled(1, message("a", 3), 2)
		}, []chaos.Rule{chaos.LogOutOfOrder}},
		"another message than the one in the log": {func(b *builder) {
			b.publish(1)
			b.handled(1, message("b", 1), 0)
		}, []chaos.Rule{chaos.Unexplained}},
		"the same message concurrently": {func(b *builder) {
			b.publish(1)
			b.consumer(chaos.Started, 1, message("a", 1), 0)
			b.consumer(chaos.Started, 1, message("a", 1), 0)
			b.consumer(chaos.Handled, 1, message("a", 1), 0)
		}, []chaos.Rule{chaos.Overlapping}},
		"the end of another handler does not end a running one": {func(b *builder) {
			b.publish(3)
			b.consumer(chaos.Started, 1, message("a", 1), 0)
			b.consumer(chaos.Started, 1, message("a", 2), 1)
			b.consumer(chaos.Handled, 1, message("a", 1), 0)
			b.consumer(chaos.Started, 1, message("a", 3), 2)
			b.consumer(chaos.Handled, 1, message("a", 2), 1)
			b.consumer(chaos.Handled, 1, message("a", 3), 2)
		}, []chaos.Rule{chaos.Overlapping, chaos.Overlapping}},
		"a commit after a handler error": {func(b *builder) {
			b.publish(1)
			b.consumer(chaos.Started, 1, message("a", 1), 0)
			b.consumer(chaos.HandlerFailed, 1, message("a", 1), 0)
			b.committed(1)
		}, []chaos.Rule{chaos.PrematureCommit, chaos.Undelivered}},
		"redelivered below a commit that a lower one follows": {func(b *builder) {
			b.publish(2)
			b.handled(1, message("a", 1), 0)
			b.handled(1, message("a", 2), 1)
			b.committed(2)
			b.committed(1)
			b.handled(2, message("a", 2), 1)
		}, []chaos.Rule{chaos.Rewound}},
		"handled by another group only": {func(b *builder) {
			b.publish(1)
			for _, kind := range []chaos.Kind{chaos.Started, chaos.Handled} {
				b.Record(chaos.Event{Kind: kind, Message: message("a", 1), Place: place(0), Group: "other", Claim: 1})
			}
		}, []chaos.Rule{chaos.Undelivered}},
		"a committed offset at the end without a commit": {func(b *builder) {
			b.publish(2)
			b.handled(1, message("a", 1), 0)
			b.Committed = map[string]map[int32]int64{group: {0: 2}}
		}, []chaos.Rule{chaos.Undelivered, chaos.PrematureCommit}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var b builder
			tt.build(&b)
			var got []chaos.Rule
			for _, v := range chaos.Check(&b.History, group) {
				got = append(got, v.Rule)
				require.NotEmpty(t, v.Detail)
			}
			require.ElementsMatch(t, tt.want, got)
		})
	}
}

func TestCheckFindsAGroupWithoutEvents(t *testing.T) {
	t.Parallel()
	var b builder
	b.publish(2)
	require.Empty(t, chaos.Check(&b.History))
	found := chaos.Check(&b.History, "absent")
	require.Len(t, found, 2)
	require.Equal(t, "undelivered: group absent: a#1 at 0@0: in the log, but never handled", found[0].String())
	require.Equal(t, 2, chaos.Count(&b.History, "absent").Lost)
	b.Committed = map[string]map[int32]int64{"idle": {}}
	require.Len(t, chaos.Check(&b.History), 2, "without names, Check also checks the groups that only have committed offsets")
}

func TestCountCountsEveryKindOfEvent(t *testing.T) {
	t.Parallel()
	var b builder
	b.publish(3)
	b.record(chaos.Published, message("b", 1), place(-1))
	b.record(chaos.Unknown, message("b", 1), place(-1))
	b.record(chaos.Acknowledged, message("b", 1), place(3))
	b.record(chaos.Published, message("b", 2), place(-1))
	b.record(chaos.Failed, message("b", 2), place(-1))
	b.Log = append(b.Log, chaos.Entry{Message: message("b", 1), Place: place(3)})
	for i := range int64(3) {
		b.handled(1, message("a", i+1), i)
	}
	b.committed(1)
	b.handled(2, message("a", 3), 2)
	b.consumer(chaos.Started, 2, message("b", 1), 3)
	b.consumer(chaos.HandlerFailed, 2, message("b", 1), 3)
	b.Record(chaos.Event{Kind: chaos.CommitFailed, Place: place(2), Group: group})
	b.Record(chaos.Event{Kind: chaos.Handled, Message: message("a", 1), Place: place(0), Group: "other", Claim: 3})
	require.Equal(t, chaos.Figures{
		Published: 5, Acknowledged: 3, Unknown: 1, Resolved: 1, Failed: 1, Lost: 1,
		Groups: map[string]chaos.GroupFigures{group: {Handled: 3, Repeated: 1, HandlerErrors: 1, Claims: 2, Commits: 1, FailedCommits: 1}},
	}, chaos.Count(&b.History, group))
	require.Equal(t, 3, chaos.Count(&b.History, "other", group).Lost, "a message is lost if one of the groups has not handled it")
}

func ExampleCheck() {
	var h chaos.History
	m := chaos.Message{Key: "device-42", Number: 1}
	at := chaos.Place{Partition: 3, Offset: 0}
	h.Record(chaos.Event{Kind: chaos.Published, Message: m})
	h.Record(chaos.Event{Kind: chaos.Acknowledged, Message: m, Place: at})
	h.Log = []chaos.Entry{{Message: m, Place: at}}
	h.Record(chaos.Event{Kind: chaos.Started, Message: m, Place: at, Group: "core", Claim: 1})
	h.Record(chaos.Event{Kind: chaos.Committed, Place: chaos.Place{Partition: 3, Offset: 1}, Group: "core"})
	h.Record(chaos.Event{Kind: chaos.Handled, Message: m, Place: at, Group: "core", Claim: 1})
	for _, v := range chaos.Check(&h) {
		fmt.Println(v)
	}
	// Output: premature commit: group core: device-42#1 at 3@0: not handled yet, but a commit is at 1
}
