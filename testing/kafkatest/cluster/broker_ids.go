//go:build unix

package main

import (
	"fmt"
	"time"

	"github.com/IBM/sarama"
)

// brokerIDs returns the IDs of the brokers in the metadata of a node. It takes a few
// seconds at most.
func brokerIDs(addr string) (map[int32]bool, error) {
	conf := sarama.NewConfig()
	conf.ClientID = "trunkline-cluster"
	conf.Version = sarama.V2_8_0_0
	conf.Net.DialTimeout = time.Second
	conf.Net.ReadTimeout = 2 * time.Second
	conf.Net.WriteTimeout = 2 * time.Second

	b := sarama.NewBroker(addr)
	if err := b.Open(conf); err != nil {
		return nil, fmt.Errorf("connect: %w", err)
	}
	defer b.Close()
	request := sarama.NewMetadataRequest(conf.Version, []string{})
	request.AllowAutoTopicCreation = false
	answer, err := b.GetMetadata(request)
	if err != nil {
		return nil, fmt.Errorf("ask for metadata: %w", err)
	}
	ids := make(map[int32]bool, len(answer.Brokers))
	for _, b := range answer.Brokers {
		ids[b.ID()] = true
	}
	return ids, nil
}
