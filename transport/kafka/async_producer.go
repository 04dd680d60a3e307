package kafka

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/IBM/sarama"
)

// asyncProducer is one AsyncProducer of sarama, with its client.
//
// The producer replaces an asyncProducer that has failed a message in an outage, because
// sarama's circuit breakers reject messages for ten seconds after a broker is available
// again. The producer builds the next one only after the last one has completed all its
// messages. This keeps the order of messages across the change.
type asyncProducer struct {
	client    *client
	sarama    sarama.AsyncProducer
	unusable  atomic.Bool   // has failed a message in an outage; to be replaced
	noBrokers atomic.Bool   // sarama could reach no broker at all
	done      chan struct{} // closed when sarama has reported every outcome

	topics  sync.Map       // the names of topics that are known to exist
	pending sync.WaitGroup // messages that sarama has not completed; only senders add to it

	// guarded by producer.mu
	senders int           // calls between acquire and release
	idle    chan struct{} // set while retire waits for senders to be 0
}

// beginBuild starts to build an asyncProducer unless a build is in progress. It returns a
// channel that is closed when the attempt has ended. p.mu is held.
func (p *producer) beginBuild() chan struct{} {
	if p.building != nil {
		return p.building
	}
	done := make(chan struct{})
	p.building = done
	if !p.t.tasks.start(func() { p.replace(done) }) {
		p.building = nil
		p.buildErr = closedError("publish", "")
		close(done)
	}
	return done
}

// replace retires the current asyncProducer, if there is one, and builds the next. Then it
// closes done.
func (p *producer) replace(done chan struct{}) {
	p.mu.Lock()
	old := p.current
	p.current = nil
	p.mu.Unlock()
	if old != nil {
		p.retire(old)
	}
	a, err := p.build()
	p.mu.Lock()
	p.current, p.buildErr, p.building = a, p.t.opts.explain(err), nil
	p.mu.Unlock()
	close(done)
}

func (p *producer) build() (*asyncProducer, error) {
	a := &asyncProducer{done: make(chan struct{})}
	c, err := p.t.newClientWith(func(c *sarama.Config) {
		c.Producer.Retry.BackoffFunc = a.retryPause(c.Producer.Retry.BackoffFunc, c.Producer.Retry.Backoff)
		c.Producer.Transaction.Retry.BackoffFunc = p.producerIDPause(c.Producer.Transaction.Retry.Backoff)
		c.Producer.Idempotent = true
		c.Net.MaxOpenRequests = 1 // an idempotent producer requires this
		c.Producer.Partitioner = newPartitioner
	})
	if err != nil {
		return nil, err
	}
	p.mu.Lock()
	p.clients[c] = struct{}{}
	aborted := p.aborted
	p.mu.Unlock()
	if aborted {
		p.discard(c)
		return nil, closedError("publish", "")
	}
	sp, err := sarama.NewAsyncProducerFromClient(c)
	if err != nil {
		p.discard(c)
		return nil, err
	}
	a.client, a.sarama = c, sp
	var readers sync.WaitGroup
	readers.Go(func() {
		for rec := range sp.Successes() {
			succeeded(rec)
		}
	})
	readers.Go(func() {
		for e := range sp.Errors() {
			failed(e)
		}
	})
	p.t.tasks.start(func() {
		readers.Wait()
		close(a.done)
	})
	return a, nil
}

// retryPause returns the function for sarama's pauses between attempts to send. The pause is
// minimal once no broker is reachable. sarama also pauses each time it fails a message
// because there is no leader. With normal pauses, a thousand such messages would block the
// next asyncProducer for a minute.
func (a *asyncProducer) retryPause(configured func(retries, most int) time.Duration, fixed time.Duration) func(retries, most int) time.Duration {
	return func(retries, most int) time.Duration {
		switch {
		case a.noBrokers.Load():
			return time.Millisecond
		case configured != nil:
			return configured(retries, most)
		default:
			return fixed
		}
	}
}

// producerIDPause returns the function for sarama's pauses between attempts to get a
// producer ID. sarama makes fifty attempts even if its client is closed, so the pause is
// minimal after abort.
func (p *producer) producerIDPause(configured time.Duration) func(retries, most int) time.Duration {
	return func(int, int) time.Duration {
		p.mu.Lock()
		defer p.mu.Unlock()
		if p.aborted {
			return time.Millisecond
		}
		return configured
	}
}

// retire waits until there are no senders, then until every message has its outcome. Then it
// closes sarama's producer. It must not do so earlier, because closing makes sarama fail the
// messages that it retries.
func (p *producer) retire(a *asyncProducer) {
	p.mu.Lock()
	var idle chan struct{}
	if a.senders > 0 {
		idle = make(chan struct{})
		a.idle = idle
	}
	p.mu.Unlock()
	if idle != nil {
		<-idle
	}
	a.pending.Wait()
	a.sarama.AsyncClose()
	<-a.done
	p.discard(a.client)
}

// discard closes a client and removes it from p.clients.
func (p *producer) discard(c *client) {
	c.close()
	p.mu.Lock()
	delete(p.clients, c)
	p.mu.Unlock()
}
