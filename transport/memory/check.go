package memory

import (
	"context"
	"fmt"
	"strings"

	"github.com/trunkline/trunkline/bus/driver"
)

// Check implements [driver.Checker]. It checks that the log is connected and has the
// topics. A log has no brokers and no replicas, so Check ignores MinBrokers and
// MinInSync: a program that requires two of them on Kafka still runs on memory.
func (t *Transport) Check(ctx context.Context, spec driver.CheckSpec) driver.Health {
	h := driver.Health{Message: "the log is connected"}
	if err := t.reachable(ctx, "check", ""); err != nil {
		h.Status, h.Message = driver.HealthCritical, err.Error()
		for _, topic := range spec.Topics {
			h.Topics = append(h.Topics, criticalTopic(topic, "unknown, because the log cannot be reached"))
		}
		return h
	}
	var problems []string
	for _, topic := range spec.Topics {
		th := t.checkTopic(topic)
		if th.Status != driver.HealthOK {
			problems = append(problems, th.Message)
		}
		h.Topics = append(h.Topics, th)
	}
	if len(problems) > 0 {
		h.Status, h.Message = driver.HealthCritical, strings.Join(problems, "; ")
	}
	return h
}

func (t *Transport) checkTopic(topic string) driver.TopicHealth {
	found := t.log.lookup(topic)
	if found == nil {
		return criticalTopic(topic, "it does not exist")
	}
	h := driver.TopicHealth{Name: topic}
	for id := range found.all() {
		h.Partitions = append(h.Partitions, driver.PartitionInfo{ID: int32(id)})
	}
	return h
}

func criticalTopic(topic, reason string) driver.TopicHealth {
	return driver.TopicHealth{Name: topic, Status: driver.HealthCritical, Message: fmt.Sprintf("topic %q: %s", topic, reason)}
}
