package kafka

import (
	"errors"
	"math/rand/v2"
	"slices"
	"sync"

	"github.com/IBM/sarama"
)

// pinger makes round trips to a broker, on a connection of its own, with no topic
// involved.
type pinger struct {
	net     *network
	config  func() *sarama.Config
	addrs   func() []string       // seeds first, then what metadata named
	explain func(err error) error // of a broker that doesn't let us in
	hungUp  func(err error) error // of a broker that we never had an answer from

	mu     sync.Mutex
	broker *sarama.Broker // the one that answered last
	met    bool           // one has answered
}

// roundTrip asks the broker that answered last, then the others.
func (p *pinger) roundTrip() error {
	p.mu.Lock()
	last := p.broker
	p.mu.Unlock()
	conf := p.config()
	if last != nil {
		if err := ask(last, conf.Version); err == nil {
			return nil
		}
		p.drop(last)
	}
	addrs := slices.Clone(p.addrs())
	rand.Shuffle(len(addrs), func(i, j int) { addrs[i], addrs[j] = addrs[j], addrs[i] })
	var errs []error
	var shutOut error
	for _, addr := range addrs {
		b := sarama.NewBroker(addr)
		err := b.Open(conf)
		if err == nil {
			err = ask(b, conf.Version)
		}
		if err == nil {
			p.keep(b)
			return nil
		}
		_ = b.Close()
		err = p.explain(err)
		switch {
		case refused(err) && !isUntrusted(err):
			return err // the others know no other password: asking them may lock the user out
		case refused(err):
			shutOut = err // each broker has a certificate of its own
		case !p.hasMet():
			err = p.hungUp(err)
		}
		errs = append(errs, err)
	}
	if shutOut != nil {
		return shutOut
	}
	return errors.Join(errs...)
}

// ask makes a round trip for which the broker must have let us in: a listener that
// wants a login tells what versions it speaks without one.
func ask(b *sarama.Broker, v sarama.KafkaVersion) error {
	request := sarama.NewMetadataRequest(v, []string{"."}) // which is no topic: to name none is to ask for all
	request.AllowAutoTopicCreation = false
	_, err := b.GetMetadata(request)
	return err
}

func (p *pinger) hasMet() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.met
}

func (p *pinger) keep(b *sarama.Broker) {
	p.mu.Lock()
	old := p.broker
	p.broker, p.met = b, true
	p.mu.Unlock()
	if old != nil && old != b {
		_ = old.Close()
	}
}

func (p *pinger) drop(b *sarama.Broker) {
	p.mu.Lock()
	if p.broker == b {
		p.broker = nil
	}
	p.mu.Unlock()
	_ = b.Close()
}

// close is for when nobody pings any more.
func (p *pinger) close() {
	p.net.cut()
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.broker != nil {
		_ = p.broker.Close()
		p.broker = nil
	}
}
