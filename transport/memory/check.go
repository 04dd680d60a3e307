package memory

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/trunkline/trunkline/bus/driver"
)

// Check implements [driver.Checker]. It checks that the log is connected and has the
// topics. A log has no brokers and no replicas, so Check ignores MinBrokers and
// MinInSync: a program that requires two of them on Kafka still runs on memory.
func (t *Transport) Check(ctx context.Context, spec driver.CheckSpec) driver.Health {
	var h driver.Health
	if err := t.reachable(ctx, "check", ""); err != nil {
		h.Err = err
		for _, topic := range spec.Topics {
			h.Topics = append(h.Topics, driver.TopicHealth{Name: topic, Err: errors.New("the log cannot be reached")})
		}
		return h
	}
	var problems []string
	for _, topic := range spec.Topics {
		th := t.checkTopic(topic)
		if th.Err != nil {
			problems = append(problems, fmt.Sprintf("topic %q: %v", topic, th.Err))
		}
		h.Topics = append(h.Topics, th)
	}
	if len(problems) > 0 {
		h.Err = &driver.Error{Code: driver.CodeUnavailable, Op: "check", Transport: t.Capabilities().Name, Reason: strings.Join(problems, "; ")}
	}
	return h
}

func (t *Transport) checkTopic(topic string) driver.TopicHealth {
	found := t.log.lookup(topic)
	if found == nil {
		return driver.TopicHealth{Name: topic, Err: errors.New("it does not exist")}
	}
	h := driver.TopicHealth{Name: topic}
	for id := range found.all() {
		h.Partitions = append(h.Partitions, driver.PartitionInfo{ID: int32(id)})
	}
	return h
}
