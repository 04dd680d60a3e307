package kafka

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/IBM/sarama"

	"github.com/trunkline/trunkline/bus/driver"
)

// Check implements [driver.Checker]. It uses separate connections and asks all brokers at
// once, each with its own time-out, so a broker that hangs affects only its own result. It
// asks every broker in the cluster's metadata. If no broker returns metadata, the result
// contains the addresses that it asked.
//
// Err is set if fewer brokers answer than spec requires, or if a topic is missing, has a
// partition without a leader, or has too few in-sync replicas. Warning is set if a broker
// does not answer or is missing, or if a replica is not in sync.
func (t *Transport) Check(ctx context.Context, spec driver.CheckSpec) driver.Health {
	spec.MinBrokers = max(1, spec.MinBrokers)
	spec.MinInSync = max(1, spec.MinInSync)
	if spec.BrokerTimeout <= 0 {
		spec.BrokerTimeout = time.Second
	}
	if t.ctx.Err() != nil {
		return driver.Health{Err: closedError("check", "")}
	}
	x := &healthCheck{t: t, spec: spec, net: t.newProbeNetwork()}
	defer x.net.close()

	answers := x.ask(ctx, t.addresses())
	meta := mostComplete(answers)
	if meta == nil {
		return x.report(answers, nil)
	}
	var more []string
	for _, b := range meta.Brokers {
		if !slices.ContainsFunc(answers, func(a brokerAnswer) bool { return a.addr == b.Addr() }) {
			more = append(more, b.Addr())
		}
	}
	return x.report(append(answers, x.ask(ctx, more)...), meta)
}

// healthCheck is one call of Check.
type healthCheck struct {
	t    *Transport
	spec driver.CheckSpec
	net  *network
}

// brokerAnswer is the result for one address.
type brokerAnswer struct {
	addr    string
	meta    *sarama.MetadataResponse // nil if err is set
	latency time.Duration
	err     error
}

// ask asks all addresses at once for metadata, each with the broker time-out.
func (x *healthCheck) ask(ctx context.Context, addrs []string) []brokerAnswer {
	answers := make([]brokerAnswer, len(addrs))
	var wg sync.WaitGroup
	for i, addr := range addrs {
		wg.Go(func() {
			timed, cancel := context.WithTimeout(ctx, x.spec.BrokerTimeout)
			defer cancel()
			began := time.Now()
			got := make(chan *sarama.MetadataResponse, 1)
			err := x.t.await(timed, func() error {
				meta, err := x.metadata(addr)
				if err == nil {
					got <- meta
				}
				return err
			})
			a := brokerAnswer{addr: addr, latency: time.Since(began)}
			if err == nil {
				a.meta = <-got
			} else {
				a.err = noAnswerError(addr, err)
			}
			answers[i] = a
		})
	}
	wg.Wait()
	return answers
}

// noAnswerError returns the error of a broker that has not returned metadata.
func noAnswerError(addr string, err error) error {
	if isRefused(err) {
		return fail("check", "", err)
	}
	if errors.Is(err, context.DeadlineExceeded) {
		return failCode(driver.CodeUnavailable, "check", "", "broker "+addr+" did not answer in time", nil)
	}
	return failCode(driver.CodeUnavailable, "check", "", "broker "+addr+" is unavailable", err)
}

func (x *healthCheck) metadata(addr string) (*sarama.MetadataResponse, error) {
	conf := x.t.opts.saramaConfig(x.net)
	b := sarama.NewBroker(addr)
	if err := b.Open(conf); err != nil {
		return nil, err
	}
	defer b.Close()
	topics := x.spec.Topics
	if len(topics) == 0 {
		topics = []string{noTopic}
	}
	return b.GetMetadata(sarama.NewMetadataRequest(conf.Version, topics))
}

// mostComplete returns the metadata with the most brokers, nil if there is none. A broker
// that has lost the others can have old metadata.
func mostComplete(answers []brokerAnswer) *sarama.MetadataResponse {
	var best *sarama.MetadataResponse
	for _, a := range answers {
		if a.meta != nil && (best == nil || len(a.meta.Brokers) > len(best.Brokers)) {
			best = a.meta
		}
	}
	return best
}

// report returns the result of the check.
func (x *healthCheck) report(answers []brokerAnswer, meta *sarama.MetadataResponse) driver.Health {
	h := driver.Health{Brokers: brokerHealths(answers, meta)}
	var errs, warnings []string
	healthy := 0
	for _, b := range h.Brokers {
		if b.Err == nil {
			healthy++
			continue
		}
		warnings = append(warnings, b.Err.Error())
	}
	if healthy < x.spec.MinBrokers {
		errs = append(errs, fmt.Sprintf("%d of %d brokers answer, need %d", healthy, len(h.Brokers), x.spec.MinBrokers))
	}
	for _, name := range x.spec.Topics {
		th := x.topic(name, meta)
		h.Topics = append(h.Topics, th)
		switch {
		case th.Err != nil:
			errs = append(errs, fmt.Sprintf("topic %q: %v", name, th.Err))
		case th.Warning != "":
			warnings = append(warnings, fmt.Sprintf("topic %q: %s", name, th.Warning))
		}
	}
	if len(errs) > 0 {
		h.Err = failCode(driver.CodeUnavailable, "check", "", strings.Join(errs, "; "), nil)
	}
	h.Warning = strings.Join(warnings, "; ")
	return h
}

// brokerHealths returns the health of the brokers in the metadata, and of brokers that have
// replicas but are not in the metadata.
func brokerHealths(answers []brokerAnswer, meta *sarama.MetadataResponse) []driver.BrokerHealth {
	var found []driver.BrokerHealth
	if meta == nil {
		for _, a := range answers {
			found = append(found, driver.BrokerHealth{ID: -1, Addr: a.addr, Latency: a.latency, Err: a.err})
		}
		return found
	}
	for _, b := range meta.Brokers {
		i := slices.IndexFunc(answers, func(a brokerAnswer) bool { return a.addr == b.Addr() })
		found = append(found, driver.BrokerHealth{ID: b.ID(), Addr: b.Addr(), Latency: answers[i].latency, Err: answers[i].err})
	}
	for _, topic := range meta.Topics {
		for _, p := range topic.Partitions {
			for _, id := range p.Replicas {
				if !slices.ContainsFunc(found, func(b driver.BrokerHealth) bool { return b.ID == id }) {
					found = append(found, driver.BrokerHealth{ID: id, Err: failCode(driver.CodeUnavailable, "check", "",
						fmt.Sprintf("broker %d has replicas but is not in the cluster", id), nil)})
				}
			}
		}
	}
	slices.SortFunc(found, func(a, b driver.BrokerHealth) int { return cmp.Compare(a.ID, b.ID) })
	return found
}

// topic returns the health of a topic according to the metadata.
func (x *healthCheck) topic(name string, meta *sarama.MetadataResponse) driver.TopicHealth {
	th := driver.TopicHealth{Name: name}
	if meta == nil {
		th.Err = errors.New("no broker answers")
		return th
	}
	i := slices.IndexFunc(meta.Topics, func(m *sarama.TopicMetadata) bool { return m.Name == name })
	switch {
	case i < 0:
		th.Err = errors.New("the metadata does not contain it")
		return th
	case codeOf(meta.Topics[i].Err) == driver.CodeNotFound:
		th.Err = errors.New("it does not exist")
		return th
	case meta.Topics[i].Err != sarama.ErrNoError:
		th.Err = meta.Topics[i].Err
		return th
	}
	th.Partitions = partitionInfos(meta.Topics[i])
	if len(th.Partitions) == 0 {
		th.Err = errors.New("it has no partitions")
	}
	for _, p := range th.Partitions {
		switch {
		case th.Err != nil: // one problem is enough
		case p.Leader < 0:
			th.Err = fmt.Errorf("partition %d has no leader", p.ID)
		case len(p.InSync) < x.spec.MinInSync:
			th.Err = fmt.Errorf("partition %d has %d in-sync replicas, need %d", p.ID, len(p.InSync), x.spec.MinInSync)
		case len(p.InSync) < len(p.Replicas) && th.Warning == "":
			th.Warning = fmt.Sprintf("partition %d has %d in-sync replicas of %d", p.ID, len(p.InSync), len(p.Replicas))
		}
	}
	return th
}
