package transporttest

import (
	"context"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/stretchr/testify/require"

	"github.com/trunkline/trunkline/bus"
)

// requirement is a property of the transport or of the harness that a scenario needs.
type requirement struct {
	// missing returns what is missing, "" if nothing is.
	missing func(e *env) string
	// checkUnsupported checks that package bus returns Unsupported for the missing
	// property. It is nil if there is no call that needs the property.
	checkUnsupported func(t *testing.T, e *env, b *bus.Bus, topic string)
}

type requirements []requirement

// check returns the first missing property, "" if there is none.
func (rs requirements) check(t *testing.T, e *env) string {
	for _, r := range rs {
		missing := r.missing(e)
		if missing == "" {
			continue
		}
		if r.checkUnsupported != nil {
			b := e.bus(t)
			r.checkUnsupported(t, e, b, e.topic(t, b, 1))
		}
		return missing
	}
	return ""
}

// Requirements of the transport.
var (
	needOrder = requirement{capability(func(c bus.Capabilities) bool { return c.Ordered }, "the transport does not keep the order of messages"),
		rejectsOption(bus.OrderByPartition())}
	needKeys = requirement{capability(func(c bus.Capabilities) bool { return c.Keys }, "the transport does not transmit keys"),
		rejectsOption(bus.OrderByKey())}
	needHeaderOrder = requirement{capability(func(c bus.Capabilities) bool { return c.HeaderOrder }, "the transport does not keep repeated headers and their order"), rejectsDuplicateHeader}
	needPartitions  = requirement{capability(func(c bus.Capabilities) bool { return c.Partitions }, "topics have no partitions"), rejectsPartition}
	needGroups      = requirement{capability(func(c bus.Capabilities) bool { return c.Groups }, "the transport has no consumer groups"),
		rejectsOption(bus.Group("group"))}
	needReplay     = requirement{capability(func(c bus.Capabilities) bool { return c.Replay }, "the transport has no log"), rejectsReplay}
	needTopics     = requirement{capability(func(c bus.Capabilities) bool { return c.Topics }, "topics need no creation"), rejectsAdmin}
	needRedelivery = requirement{missing: capability(func(c bus.Capabilities) bool { return c.Redelivery }, "unacknowledged messages are lost when the process ends")}
	needWindow     = requirement{missing: capability(func(c bus.Capabilities) bool { return !c.DirectAck }, "the transport delivers one message at a time")}
)

// Requirements of the harness.
var (
	needTimestamps        = requirement{missing: harness(func(h Harness) bool { return !h.NoTimestamps }, "Harness.NoTimestamps is set")}
	needBoundedGoroutines = requirement{missing: harness(func(h Harness) bool { return !h.Unbounded }, "Harness.Unbounded is set")}
	needPublishWithoutAck = requirement{missing: harness(func(h Harness) bool { return !h.PublishWaitsForAck }, "Harness.PublishWaitsForAck is set")}
	needCrash             = requirement{missing: harness(func(h Harness) bool { return h.Crash != nil }, "Harness.Crash is nil")}
	needDisconnect        = requirement{missing: harness(func(h Harness) bool { return h.Disconnect != nil }, "Harness.Disconnect is nil")}
	needAddPartitions     = requirement{missing: harness(func(h Harness) bool { return h.AddPartitions != nil }, "Harness.AddPartitions is nil")}
)

// needPartitionMoves contains the requirements for moving a partition from one member to another.
var needPartitionMoves = requirements{needGroups, needReplay, needPartitions}

func capability(has func(bus.Capabilities) bool, missing string) func(*env) string {
	return func(e *env) string {
		if has(e.caps) {
			return ""
		}
		return missing
	}
}

func harness(has func(Harness) bool, missing string) func(*env) string {
	return func(e *env) string {
		if has(e.h) {
			return ""
		}
		return missing
	}
}

func rejectsOption(opts ...bus.SubscribeOption) func(*testing.T, *env, *bus.Bus, string) {
	return func(t *testing.T, _ *env, b *bus.Bus, topic string) {
		for _, opt := range opts {
			_, err := b.Consume(t.Context(), topic, func(context.Context, *bus.Delivery) error { return nil }, opt)
			requireCode(t, bus.CodeUnsupported, err, "an option that needs a missing capability")
		}
	}
}

func rejectsPartition(t *testing.T, e *env, b *bus.Bus, topic string) {
	rejectsOption(bus.OnlyPartitions(0))(t, e, b, topic)
	m := message.NewMessage("id", nil)
	bus.SetPartition(m, 0)
	requireCode(t, bus.CodeUnsupported, b.Publish(topic, m), "publish to a partition")
}

func rejectsDuplicateHeader(t *testing.T, e *env, b *bus.Bus, topic string) {
	r := &bus.Record{Topic: topic, Partition: bus.AnyPartition, Headers: []bus.Header{{Key: "a"}, {Key: "a"}}}
	requireCode(t, bus.CodeUnsupported, e.publishRecord(t, b, r).Err, "publish a header twice")
}

func rejectsReplay(t *testing.T, e *env, b *bus.Bus, topic string) {
	rejectsOption(bus.FromOldest(), bus.FromOffset(0), bus.FromTime(time.Now()))(t, e, b, topic)
}

func rejectsAdmin(t *testing.T, e *env, b *bus.Bus, _ string) {
	spec := bus.TopicSpec{Name: e.name("made")}
	requireCode(t, bus.CodeUnsupported, b.CreateTopic(t.Context(), spec), "create a topic")
	requireCode(t, bus.CodeUnsupported, b.DeleteTopic(t.Context(), spec.Name), "delete a topic")
	_, err := b.DescribeTopic(t.Context(), spec.Name)
	requireCode(t, bus.CodeUnsupported, err, "describe a topic")
	_, err = b.ListTopics(t.Context())
	requireCode(t, bus.CodeUnsupported, err, "list topics")
	require.NoError(t, b.EnsureTopic(t.Context(), spec), "EnsureTopic succeeds, because topics need no creation")
}
