package memory

import (
	"context"
	"fmt"
	"strings"

	"github.com/trunkline/trunkline/bus/driver"
)

// Check implements [driver.Checker]: whether the log is connected, and has the topics.
// There are no brokers and no copies to count, so a program that wants two of them on
// Kafka runs on memory all the same: MinBrokers and MinInSync are not looked at.
func (t *Transport) Check(ctx context.Context, spec driver.CheckSpec) driver.Health {
	h := driver.Health{Message: "the log is connected"}
	if err := t.reach(ctx, "check", ""); err != nil {
		h.Status, h.Message = driver.HealthCritical, err.Error()
		for _, topic := range spec.Topics {
			h.Topics = append(h.Topics, missing(topic, "the log could not be asked"))
		}
		return h
	}
	var wrong []string
	for _, topic := range spec.Topics {
		th := t.checkTopic(topic)
		if th.Status != driver.HealthOK {
			wrong = append(wrong, th.Message)
		}
		h.Topics = append(h.Topics, th)
	}
	if len(wrong) > 0 {
		h.Status, h.Message = driver.HealthCritical, strings.Join(wrong, "; ")
	}
	return h
}

func (t *Transport) checkTopic(topic string) driver.TopicHealth {
	found := t.log.lookup(topic)
	if found == nil {
		return missing(topic, "it does not exist")
	}
	h := driver.TopicHealth{Name: topic}
	for id := range found.all() {
		h.Partitions = append(h.Partitions, driver.PartitionInfo{ID: int32(id)})
	}
	return h
}

func missing(topic, why string) driver.TopicHealth {
	return driver.TopicHealth{Name: topic, Status: driver.HealthCritical, Message: fmt.Sprintf("topic %q: %s", topic, why)}
}
