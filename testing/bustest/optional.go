package bustest

import (
	"context"

	"github.com/trunkline/trunkline/bus/driver"
)

// The optional interfaces of package driver. Faults implements all of them, because a wrapper
// cannot implement only those that the inner transport implements.
var (
	_ driver.Admin          = (*Faults)(nil)
	_ driver.PartitionAdder = (*Faults)(nil)
	_ driver.Checker        = (*Faults)(nil)
	_ driver.Listeners      = (*Faults)(nil)
)

// admin returns the transport's Admin, or an error while disconnected.
func (f *Faults) admin(op, topic string) (driver.Admin, error) {
	if err := f.checkConnected(op, topic); err != nil {
		return nil, err
	}
	if a, ok := f.inner.(driver.Admin); ok {
		return a, nil
	}
	return nil, f.failure(driver.CodeUnsupported, op, topic, "the transport has no topic administration", nil)
}

// CreateTopic implements [driver.Admin]. It returns an Unavailable error while disconnected.
func (f *Faults) CreateTopic(ctx context.Context, spec driver.TopicSpec) error {
	a, err := f.admin("create topic", spec.Name)
	if err != nil {
		return err
	}
	return a.CreateTopic(ctx, spec)
}

// DeleteTopic implements [driver.Admin]. It returns an Unavailable error while disconnected.
func (f *Faults) DeleteTopic(ctx context.Context, topic string) error {
	a, err := f.admin("delete topic", topic)
	if err != nil {
		return err
	}
	return a.DeleteTopic(ctx, topic)
}

// DescribeTopic implements [driver.Admin]. It returns an Unavailable error while disconnected.
func (f *Faults) DescribeTopic(ctx context.Context, topic string) (driver.TopicInfo, error) {
	a, err := f.admin("describe topic", topic)
	if err != nil {
		return driver.TopicInfo{}, err
	}
	return a.DescribeTopic(ctx, topic)
}

// ListTopics implements [driver.Admin]. It returns an Unavailable error while disconnected.
func (f *Faults) ListTopics(ctx context.Context) ([]string, error) {
	a, err := f.admin("list topics", "")
	if err != nil {
		return nil, err
	}
	return a.ListTopics(ctx)
}

// AddPartitions implements [driver.PartitionAdder]. It returns an Unavailable error while disconnected, and
// an Unsupported error if the transport does not implement that interface.
func (f *Faults) AddPartitions(ctx context.Context, topic string, total int32) error {
	if err := f.checkConnected("add partitions", topic); err != nil {
		return err
	}
	a, ok := f.inner.(driver.PartitionAdder)
	if !ok {
		return f.failure(driver.CodeUnsupported, "add partitions", topic, "the transport cannot add partitions to a topic", nil)
	}
	return a.AddPartitions(ctx, topic, total)
}

// Check implements [driver.Checker]. While disconnected, the health has an error. If the
// transport does not implement that interface, Check reports the result of a Ping.
func (f *Faults) Check(ctx context.Context, spec driver.CheckSpec) driver.Health {
	if err := f.checkConnected("check", ""); err != nil {
		return driver.Health{Err: err}
	}
	if c, ok := f.inner.(driver.Checker); ok {
		return c.Check(ctx, spec)
	}
	return driver.Health{Err: f.inner.Ping(ctx)}
}

// Listening implements [driver.Listeners]. It also counts subscriptions that a fault has
// disconnected. It returns an Unsupported error if the transport does not implement that interface.
func (f *Faults) Listening(topic string) (bool, error) {
	inner, ok := f.inner.(driver.Listeners)
	if !ok {
		return false, f.failure(driver.CodeUnsupported, "ask for listeners", topic, "the transport does not report its subscribers", nil)
	}
	listening, err := inner.Listening(topic)
	if listening || err != nil {
		return listening, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, s := range f.sessions {
		if s.sub.Topic == topic {
			return true, nil
		}
	}
	return false, nil
}
