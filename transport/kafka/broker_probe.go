package kafka

import (
	"errors"
	"math/rand/v2"
	"slices"
	"sync"

	"github.com/IBM/sarama"
)

// brokerProbe makes round trips to brokers on a separate connection. They involve no
// topic.
type brokerProbe struct {
	net               *network
	config            func() *sarama.Config
	addrs             func() []string       // the seeds, then the brokers in the metadata
	explain           func(err error) error // explains why a broker rejects the connection
	explainEarlyClose func(err error) error // explains why a broker closed the connection before its first answer

	mu       sync.Mutex
	broker   *sarama.Broker // that answered last
	answered bool           // a broker has answered at least once
}

// probe makes a round trip to the broker that answered last. If that fails, it tries the
// other brokers.
func (p *brokerProbe) probe() error {
	p.mu.Lock()
	last := p.broker
	p.mu.Unlock()
	conf := p.config()
	if last != nil {
		if err := roundTrip(last, conf.Version); err == nil {
			return nil
		}
		p.drop(last)
	}
	addrs := slices.Clone(p.addrs())
	rand.Shuffle(len(addrs), func(i, j int) { addrs[i], addrs[j] = addrs[j], addrs[i] })
	var errs []error
	var untrusted error
	for _, addr := range addrs {
		b := sarama.NewBroker(addr)
		err := b.Open(conf)
		if err == nil {
			err = roundTrip(b, conf.Version)
		}
		if err == nil {
			p.keep(b)
			return nil
		}
		_ = b.Close()
		err = p.explain(err)
		switch {
		case isRefused(err) && !isTLSRejection(err):
			// Every broker checks the same password. More attempts could lock the user out.
			return err
		case isRefused(err):
			untrusted = err // continue, because another broker has another certificate
		case !p.hasAnswered():
			err = p.explainEarlyClose(err)
		}
		errs = append(errs, err)
	}
	if untrusted != nil {
		return untrusted
	}
	return errors.Join(errs...)
}

// noTopic is a name that no topic can have. A metadata request with it gets an answer
// without topics. A request without names would get all topics.
const noTopic = "."

// roundTrip sends a request that a broker answers only after authentication. A request for
// API versions is not suitable, because a listener with SASL answers it before the login.
func roundTrip(b *sarama.Broker, v sarama.KafkaVersion) error {
	request := sarama.NewMetadataRequest(v, []string{noTopic})
	request.AllowAutoTopicCreation = false
	_, err := b.GetMetadata(request)
	return err
}

func (p *brokerProbe) hasAnswered() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.answered
}

func (p *brokerProbe) keep(b *sarama.Broker) {
	p.mu.Lock()
	old := p.broker
	p.broker, p.answered = b, true
	p.mu.Unlock()
	if old != nil && old != b {
		_ = old.Close()
	}
}

func (p *brokerProbe) drop(b *sarama.Broker) {
	p.mu.Lock()
	if p.broker == b {
		p.broker = nil
	}
	p.mu.Unlock()
	_ = b.Close()
}

// close must be called after the last probe.
func (p *brokerProbe) close() {
	p.net.close()
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.broker != nil {
		_ = p.broker.Close()
		p.broker = nil
	}
}
