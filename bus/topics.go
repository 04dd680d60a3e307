package bus

import (
	"context"
	"sync"

	"github.com/trunkline/trunkline/bus/driver"
	"github.com/trunkline/trunkline/internal/delivery"
)

// topics is the set of topics that are known to exist, for WithCreateTopics. If another program
// deletes a topic, the topic stays in the set. Publishing then fails with CodeNotFound, and the
// bus does not create the topic again by accident.
type topics struct {
	m sync.Map // topic → struct{}
}

// create creates the topic if it is missing and the bus is configured to create topics.
func (b *Bus) create(ctx context.Context, topic string) error {
	if b.cfg.create == nil || b.admin == nil {
		return nil
	}
	if _, ok := b.known.m.Load(topic); ok || delivery.MustExist(ctx) {
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

// CreateTopic creates a topic and waits until it can be used. The error has CodeAlreadyExists if
// the topic exists, and CodeUnsupported where topics need no creation: see [Bus.EnsureTopic].
func (b *Bus) CreateTopic(ctx context.Context, spec TopicSpec) error {
	return b.administer("create topic", spec.Name, func() error { return b.admin.CreateTopic(ctx, spec) })
}

// EnsureTopic creates a topic unless it exists. It does not compare the configuration of a topic
// that exists with spec. It returns nil at once where topics need no creation, so a program can
// call it on every transport. If the broker is not available, the error has CodeUnavailable,
// CodeDeadlineExceeded or CodeCanceled.
func (b *Bus) EnsureTopic(ctx context.Context, spec TopicSpec) error {
	if b.admin == nil && spec.Name != "" {
		return nil
	}
	return b.administer("create topic", spec.Name, func() error { return b.ensure(ctx, spec) })
}

// DeleteTopic deletes a topic with all of its records. The error has CodeNotFound if there is no
// such topic.
func (b *Bus) DeleteTopic(ctx context.Context, topic string) error {
	return b.administer("delete topic", topic, func() error {
		b.known.m.Delete(topic)
		return b.admin.DeleteTopic(ctx, topic)
	})
}

// DescribeTopic describes a topic. The error has CodeNotFound if there is no such topic.
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
		return &Error{Code: CodeInvalidArgument, Op: op, Transport: b.caps.Name, Reason: "the name of the topic is empty"}
	}
	if err := b.enter(op, topic); err != nil {
		return err
	}
	defer b.calls.leave()
	if b.admin == nil {
		return &Error{Code: CodeUnsupported, Op: op, Transport: b.caps.Name, Topic: topic, Reason: "this transport has no topics to create, delete or list: every name is a topic"}
	}
	return do()
}

// SubscribeInitialize implements message.SubscribeInitializer of watermill. It creates the topic
// unless it exists, from the template of [WithCreateTopics] or with the defaults of the transport.
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
