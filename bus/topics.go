package bus

import (
	"context"
	"sync"

	"github.com/trunkline/trunkline/bus/driver"
)

// topics remembers which topics were seen to exist, for WithCreateTopics. A topic
// that is deleted behind the bus's back stays remembered: using it then fails with
// CodeNotFound, it is not made again by accident.
type topics struct {
	m sync.Map // topic → struct{}
}

type existingTopicKey struct{}

// ExistingTopic returns a context under which publishing creates no topic, whatever
// WithCreateTopics says: who answers to a topic that somebody else made must not bring
// it back after it was deleted. Give it to PublishAsync, or to a message's SetContext.
func ExistingTopic(ctx context.Context) context.Context {
	return context.WithValue(ctx, existingTopicKey{}, true)
}

// create sees to it that the topic exists, when the bus is to create topics.
func (b *Bus) create(ctx context.Context, topic string) error {
	if b.cfg.create == nil || b.admin == nil {
		return nil
	}
	if _, ok := b.known.m.Load(topic); ok || ctx.Value(existingTopicKey{}) != nil {
		return nil
	}
	spec := *b.cfg.create
	spec.Name = topic
	if err := b.ensure(ctx, spec); err != nil {
		return err
	}
	b.known.m.Store(topic, struct{}{})
	return nil
}

func (b *Bus) ensure(ctx context.Context, spec TopicSpec) error {
	err := b.admin.CreateTopic(ctx, spec)
	if err != nil && CodeOf(err) == CodeAlreadyExists {
		return nil
	}
	return err
}

// CreateTopic makes a topic and waits until it can be used. CodeAlreadyExists when it
// is there. CodeUnsupported where topics need no making: see EnsureTopic.
func (b *Bus) CreateTopic(ctx context.Context, spec TopicSpec) error {
	return b.administer("create topic", spec.Name, func() error { return b.admin.CreateTopic(ctx, spec) })
}

// EnsureTopic makes a topic unless it is there, whatever its configuration. Where
// topics need no making it returns nil at once, so a program can call it on every
// transport. An unreachable broker is Unavailable, or the end of ctx.
func (b *Bus) EnsureTopic(ctx context.Context, spec TopicSpec) error {
	if b.admin == nil && spec.Name != "" {
		return nil
	}
	return b.administer("create topic", spec.Name, func() error { return b.ensure(ctx, spec) })
}

// DeleteTopic removes a topic and what is in it; CodeNotFound when it isn't there.
func (b *Bus) DeleteTopic(ctx context.Context, topic string) error {
	return b.administer("delete topic", topic, func() error {
		b.known.m.Delete(topic)
		return b.admin.DeleteTopic(ctx, topic)
	})
}

// DescribeTopic returns what a topic is like; CodeNotFound when it isn't there.
func (b *Bus) DescribeTopic(ctx context.Context, topic string) (info TopicInfo, err error) {
	err = b.administer("describe topic", topic, func() (err error) {
		info, err = b.admin.DescribeTopic(ctx, topic)
		return err
	})
	return info, err
}

// ListTopics returns the names of all topics, sorted.
func (b *Bus) ListTopics(ctx context.Context) (names []string, err error) {
	err = b.administer("list topics", "*", func() (err error) {
		names, err = b.admin.ListTopics(ctx)
		return err
	})
	return names, err
}

func (b *Bus) administer(op, topic string, do func() error) error {
	if topic == "" {
		return &Error{Code: CodeInvalidArgument, Op: op, Transport: b.caps.Name, Reason: "the topic's name is empty"}
	}
	if err := b.enter(op, topic); err != nil {
		return err
	}
	defer b.gate.leave()
	if b.admin == nil {
		return &Error{Code: CodeUnsupported, Op: op, Transport: b.caps.Name, Topic: topic, Reason: "this transport's topics are not made: any name is one"}
	}
	return do()
}

// SubscribeInitialize is watermill's way to create a topic before anything is
// subscribed to it, with the template of WithCreateTopics or the transport's
// defaults.
func (b *Bus) SubscribeInitialize(topic string) error {
	ctx, cancel := context.WithTimeout(context.Background(), b.cfg.deliveryTimeout)
	defer cancel()
	spec := driver.TopicSpec{}
	if b.cfg.create != nil {
		spec = *b.cfg.create
	}
	spec.Name = topic
	return b.EnsureTopic(ctx, spec)
}
