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
	net    *network
	config func() (*sarama.Config, error)
	addrs  func() []string // seeds first, then what metadata named

	mu     sync.Mutex
	broker *sarama.Broker // the one that answered last
}

// roundTrip asks the broker that answered last, then the others.
func (p *pinger) roundTrip() error {
	p.mu.Lock()
	last := p.broker
	p.mu.Unlock()
	if last != nil {
		if err := ask(last); err == nil {
			return nil
		}
		p.drop(last)
	}
	conf, err := p.config()
	if err != nil {
		return err
	}
	addrs := slices.Clone(p.addrs())
	rand.Shuffle(len(addrs), func(i, j int) { addrs[i], addrs[j] = addrs[j], addrs[i] })
	var errs []error
	for _, addr := range addrs {
		b := sarama.NewBroker(addr)
		if err = b.Open(conf); err == nil {
			err = ask(b)
		}
		if err == nil {
			p.keep(b)
			return nil
		}
		_ = b.Close()
		errs = append(errs, err)
		if refused(err) {
			break
		}
	}
	return errors.Join(errs...)
}

func ask(b *sarama.Broker) error {
	res, err := b.ApiVersions(&sarama.ApiVersionsRequest{
		Version: 3, ClientSoftwareName: "trunkline", ClientSoftwareVersion: "1",
	})
	if err != nil {
		return err
	}
	if code := sarama.KError(res.ErrorCode); code != sarama.ErrNoError && code != sarama.ErrUnsupportedVersion {
		return code
	}
	return nil
}

func (p *pinger) keep(b *sarama.Broker) {
	p.mu.Lock()
	old := p.broker
	p.broker = b
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
