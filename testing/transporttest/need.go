package transporttest

import (
	"context"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/stretchr/testify/require"

	"github.com/trunkline/trunkline/bus"
)

// need is something that not every transport, or harness, has.
type need struct {
	// lacks says what is lacking, "" for nothing.
	lacks func(e *env) string
	// refused checks that asking for it is Unsupported; nil where there is no way to ask.
	refused func(t *testing.T, e *env, b *bus.Bus, topic string)
}

type needs []need

// check returns the first thing that is lacking, after it has asked for it.
func (ns needs) check(t *testing.T, e *env) string {
	for _, n := range ns {
		lacking := n.lacks(e)
		if lacking == "" {
			continue
		}
		if n.refused != nil {
			b := e.bus(t)
			n.refused(t, e, b, e.topic(t, b, 1))
		}
		return lacking
	}
	return ""
}

// Of the transport.
var (
	needOrder = need{capability(func(c bus.Capabilities) bool { return c.Ordered }, "it keeps no order"),
		refusesOption(bus.OrderByPartition())}
	needKeys = need{capability(func(c bus.Capabilities) bool { return c.Keys }, "it carries no keys"),
		refusesOption(bus.OrderByKey())}
	needHeaderOrder = need{capability(func(c bus.Capabilities) bool { return c.HeaderOrder }, "its records have each header once"), refusesHeaderTwice}
	needPartitions  = need{capability(func(c bus.Capabilities) bool { return c.Partitions }, "its topics have no partitions"), refusesPartition}
	needGroups      = need{capability(func(c bus.Capabilities) bool { return c.Groups }, "it has no consumer groups"),
		refusesOption(bus.Group("group"))}
	needReplay     = need{capability(func(c bus.Capabilities) bool { return c.Replay }, "it keeps no log to start in"), refusesReplay}
	needTopics     = need{capability(func(c bus.Capabilities) bool { return c.Topics }, "any name is a topic at once"), refusesAdmin}
	needRedelivery = need{lacks: capability(func(c bus.Capabilities) bool { return c.Redelivery }, "what is not acknowledged is gone when the process ends")}
	needWindow     = need{lacks: capability(func(c bus.Capabilities) bool { return !c.DirectAck }, "it hands out one message at a time")}
)

// Of the harness.
var (
	needTimestamps    = need{lacks: harness(func(h Harness) bool { return !h.NoTimestamps }, "it does not carry the publisher's time")}
	needBounds        = need{lacks: harness(func(h Harness) bool { return !h.Unbounded }, "what it is made of keeps no bounds")}
	needFreePublish   = need{lacks: harness(func(h Harness) bool { return !h.AckToPublish }, "publishing waits for an acknowledgement")}
	needCrash         = need{lacks: harness(func(h Harness) bool { return h.Crash != nil }, "the harness can't crash it")}
	needDisconnect    = need{lacks: harness(func(h Harness) bool { return h.Disconnect != nil }, "the harness can't take its broker away")}
	needAddPartitions = need{lacks: harness(func(h Harness) bool { return h.AddPartitions != nil }, "the harness can't add partitions")}
)

func capability(has func(bus.Capabilities) bool, lacking string) func(*env) string {
	return func(e *env) string {
		if has(e.caps) {
			return ""
		}
		return lacking
	}
}

func harness(has func(Harness) bool, lacking string) func(*env) string {
	return func(e *env) string {
		if has(e.h) {
			return ""
		}
		return lacking
	}
}

func refusesOption(opts ...bus.SubscribeOption) func(*testing.T, *env, *bus.Bus, string) {
	return func(t *testing.T, _ *env, b *bus.Bus, topic string) {
		for _, opt := range opts {
			_, err := b.Consume(t.Context(), topic, func(context.Context, *bus.Delivery) error { return nil }, opt)
			requireCode(t, bus.CodeUnsupported, err, "asking for what the transport lacks")
		}
	}
}

func refusesPartition(t *testing.T, e *env, b *bus.Bus, topic string) {
	refusesOption(bus.OnlyPartitions(0))(t, e, b, topic)
	m := message.NewMessage("id", nil)
	bus.SetPartition(m, 0)
	requireCode(t, bus.CodeUnsupported, b.Publish(topic, m), "publish to a partition")
}

func refusesHeaderTwice(t *testing.T, _ *env, b *bus.Bus, topic string) {
	r := &bus.Record{Topic: topic, Partition: bus.AnyPartition, Headers: []bus.Header{{Key: "a"}, {Key: "a"}}}
	b.PublishRecord(t.Context(), r, func(o bus.Outcome) { requireCode(t, bus.CodeUnsupported, o.Err, "publish a header twice") })
}

func refusesReplay(t *testing.T, e *env, b *bus.Bus, topic string) {
	refusesOption(bus.FromOldest(), bus.FromOffset(0), bus.FromTime(time.Now()))(t, e, b, topic)
}

func refusesAdmin(t *testing.T, e *env, b *bus.Bus, _ string) {
	spec := bus.TopicSpec{Name: e.name("made")}
	requireCode(t, bus.CodeUnsupported, b.CreateTopic(t.Context(), spec), "create a topic")
	requireCode(t, bus.CodeUnsupported, b.DeleteTopic(t.Context(), spec.Name), "delete a topic")
	_, err := b.DescribeTopic(t.Context(), spec.Name)
	requireCode(t, bus.CodeUnsupported, err, "describe a topic")
	_, err = b.ListTopics(t.Context())
	requireCode(t, bus.CodeUnsupported, err, "list topics")
	require.NoError(t, b.EnsureTopic(t.Context(), spec), "topics need no making")
}
