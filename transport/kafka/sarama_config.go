package kafka

import (
	"math/rand/v2"
	"time"

	"github.com/IBM/sarama"
)

// saramaConfig returns the configuration of a client whose connections n makes.
func (o *options) saramaConfig(n *network) *sarama.Config {
	c := sarama.NewConfig()
	c.ClientID = o.clientID
	c.Version = o.version
	c.Net.DialTimeout = o.times.Dial
	c.Net.ReadTimeout = o.times.Request
	c.Net.WriteTimeout = o.times.Request

	c.Metadata.Full = false // sarama then connects and asks for metadata only when needed
	c.Metadata.RefreshFrequency = o.times.Refresh
	c.Metadata.Retry.Max = 1
	c.Metadata.Retry.Backoff = 50 * time.Millisecond
	c.Metadata.Timeout = o.times.Request + o.times.Dial

	c.Producer.Timeout = o.times.Request * 4 / 5
	o.producer.apply(c)

	o.consumer.apply(c)
	c.Consumer.Retry.BackoffFunc = func(retries int) time.Duration {
		return jitter(min(time.Second, 100*time.Millisecond<<min(retries, 4)))
	}
	c.Consumer.Offsets.Initial = sarama.OffsetOldest
	c.Consumer.Group.Rebalance.GroupStrategies = []sarama.BalanceStrategy{strategyPlaceholder{sarama.NewBalanceStrategyRange()}}
	c.Consumer.Group.Rebalance.Retry.Backoff = 100 * time.Millisecond
	c.Consumer.Group.Rebalance.Timeout = o.times.Rebalance
	c.Consumer.Group.Session.Timeout = o.times.Session
	c.Consumer.Group.Heartbeat.Interval = min(o.times.Heartbeat, o.times.Session/4)

	for _, change := range o.tune {
		change(c)
	}

	// The transport depends on the following, so no option can change it.
	c.Metadata.AllowAutoTopicCreation = false
	c.Net.Proxy.Enable = true
	c.Net.Proxy.Dialer = n
	c.Producer.RequiredAcks = sarama.WaitForAll
	c.Producer.Return.Successes = true
	c.Producer.Return.Errors = true
	c.Consumer.Return.Errors = true
	c.Consumer.Offsets.AutoCommit.Enable = false
	if o.login != nil {
		o.login.configure(c, n, o.saslExtensions)
	}
	return c
}

// jitter returns a random duration between half of d and d.
func jitter(d time.Duration) time.Duration {
	return d/2 + rand.N(d/2+1)
}
