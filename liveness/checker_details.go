package liveness

import (
	"context"
	"time"

	"github.com/trunkline/trunkline/bus/driver"
)

type brokerDetail struct {
	ID        int32   `json:"id"` // -1 if it is not known
	Addr      string  `json:"addr,omitempty"`
	Healthy   bool    `json:"healthy"`
	LatencyMS float64 `json:"latency_ms"`
	Error     string  `json:"error,omitempty"`
}

type topicDetail struct {
	Name       string `json:"name"`
	Error      string `json:"error,omitempty"`
	Warning    string `json:"warning,omitempty"`
	Partitions int    `json:"partitions"`
	// Leaderless and UnderReplicated count partitions.
	Leaderless      int `json:"leaderless"`
	UnderReplicated int `json:"under_replicated"`
}

// details returns what /detailz shows of the service.
func (c *Checker) details(context.Context) map[string]any {
	d := map[string]any{"transport": c.bus.Capabilities().Name}
	last, ok := c.Last()
	if !ok {
		return d
	}
	d["checked_at"] = last.At.UTC().Format(time.RFC3339Nano)
	d["duration_ms"] = milliseconds(last.Duration)
	if last.Skipped != nil {
		return d
	}
	brokers := make([]brokerDetail, 0, len(last.Brokers))
	for _, b := range last.Brokers {
		brokers = append(brokers, brokerDetail{ID: b.ID, Addr: b.Addr, Healthy: b.Err == nil, LatencyMS: milliseconds(b.Latency), Error: errorText(b.Err)})
	}
	topics := make([]topicDetail, 0, len(last.Topics))
	for _, t := range last.Topics {
		topics = append(topics, topicOf(t))
	}
	d["passed"], d["brokers"], d["topics"] = last.Err == nil, brokers, topics
	if last.Err != nil {
		d["error"] = last.Err.Error()
	}
	if last.Warning != "" {
		d["warning"] = last.Warning
	}
	return d
}

func topicOf(t driver.TopicHealth) topicDetail {
	d := topicDetail{Name: t.Name, Error: errorText(t.Err), Warning: t.Warning, Partitions: len(t.Partitions)}
	for _, p := range t.Partitions {
		if p.Leader < 0 {
			d.Leaderless++
		}
		if len(p.InSync) < len(p.Replicas) {
			d.UnderReplicated++
		}
	}
	return d
}

func milliseconds(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
