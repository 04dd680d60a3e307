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

// Check implements [driver.Checker]. It makes connections of its own, so that a broker
// which holds up everything else is seen as what it is, and each broker has its own
// time-out. Every broker that metadata names is asked; so are the given ones when none
// could name any. CRITICAL: fewer brokers answer than spec wants, or a topic is not
// there, has a partition without a leader or with too few replicas in sync. WARNING: a
// broker does not answer or is missing, or a replica is not in sync.
func (t *Transport) Check(ctx context.Context, spec driver.CheckSpec) driver.Health {
	spec.MinBrokers = max(1, spec.MinBrokers)
	spec.MinInSync = max(1, spec.MinInSync)
	if spec.BrokerTimeout <= 0 {
		spec.BrokerTimeout = time.Second
	}
	if t.ctx.Err() != nil {
		return driver.Health{Status: driver.HealthCritical, Message: closedError("check", "").Error()}
	}
	x := &examination{t: t, spec: spec, net: t.newQuietNetwork()}
	defer x.net.cut()

	answers := x.ask(ctx, t.addresses())
	meta := newest(answers)
	if meta == nil {
		return x.report(answers, nil)
	}
	var more []string
	for _, b := range meta.Brokers {
		if !slices.ContainsFunc(answers, func(a answer) bool { return a.addr == b.Addr() }) {
			more = append(more, b.Addr())
		}
	}
	return x.report(append(answers, x.ask(ctx, more)...), meta)
}

// examination is one health check.
type examination struct {
	t    *Transport
	spec driver.CheckSpec
	net  *network
}

// answer is what one address had to say.
type answer struct {
	addr    string
	meta    *sarama.MetadataResponse // nil with err
	latency time.Duration
	err     error
}

// ask asks all addresses at once for metadata, each for as long as a broker may take.
func (x *examination) ask(ctx context.Context, addrs []string) []answer {
	answers := make([]answer, len(addrs))
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
			a := answer{addr: addr, latency: time.Since(began)}
			if err == nil {
				a.meta = <-got
			} else {
				a.err = x.t.opts.unanswered(addr, err)
			}
			answers[i] = a
		})
	}
	wg.Wait()
	return answers
}

func (o *options) unanswered(addr string, err error) error {
	if refused(err) {
		return fail("check", "", err)
	}
	if errors.Is(err, context.DeadlineExceeded) {
		return failCode(driver.CodeUnavailable, "check", "", "broker "+addr+" did not answer in time", nil)
	}
	return failCode(driver.CodeUnavailable, "check", "", "broker "+addr+" does not answer", err)
}

func (x *examination) metadata(addr string) (*sarama.MetadataResponse, error) {
	conf := x.t.opts.configure(x.net)
	b := sarama.NewBroker(addr)
	if err := b.Open(conf); err != nil {
		return nil, err
	}
	defer b.Close()
	topics := x.spec.Topics
	if len(topics) == 0 {
		topics = []string{"."} // which no topic is called: to name none is to ask for all
	}
	return b.GetMetadata(sarama.NewMetadataRequest(conf.Version, topics))
}

// newest returns the metadata that knows of the most brokers, nil when there is none: a
// broker that was cut off from the others may have an old picture.
func newest(answers []answer) *sarama.MetadataResponse {
	var best *sarama.MetadataResponse
	for _, a := range answers {
		if a.meta != nil && (best == nil || len(a.meta.Brokers) > len(best.Brokers)) {
			best = a.meta
		}
	}
	return best
}

// report makes the verdict.
func (x *examination) report(answers []answer, meta *sarama.MetadataResponse) driver.Health {
	h := driver.Health{Brokers: brokersOf(answers, meta)}
	var critical, warning []string
	healthy := 0
	for _, b := range h.Brokers {
		if b.Err == nil {
			healthy++
			continue
		}
		warning = append(warning, b.Err.Error())
	}
	if healthy < x.spec.MinBrokers {
		critical = append(critical, fmt.Sprintf("%d of %d brokers answer, %d are needed", healthy, len(h.Brokers), x.spec.MinBrokers))
	}
	for _, name := range x.spec.Topics {
		th := x.topic(name, meta)
		h.Topics = append(h.Topics, th)
		switch th.Status {
		case driver.HealthCritical:
			critical = append(critical, th.Message)
		case driver.HealthWarning:
			warning = append(warning, th.Message)
		}
	}
	switch {
	case len(critical) > 0:
		h.Status = driver.HealthCritical
	case len(warning) > 0:
		h.Status = driver.HealthWarning
	}
	if h.Message = strings.Join(append(critical, warning...), "; "); h.Message == "" {
		h.Message = fmt.Sprintf("all %d brokers answer", healthy)
	}
	return h
}

// brokersOf joins who answered with who should be there: the brokers that metadata names,
// and those that have replicas and are not named.
func brokersOf(answers []answer, meta *sarama.MetadataResponse) []driver.BrokerHealth {
	var found []driver.BrokerHealth
	if meta == nil {
		for _, a := range answers {
			found = append(found, driver.BrokerHealth{ID: -1, Addr: a.addr, Latency: a.latency, Err: a.err})
		}
		return found
	}
	for _, b := range meta.Brokers {
		i := slices.IndexFunc(answers, func(a answer) bool { return a.addr == b.Addr() })
		found = append(found, driver.BrokerHealth{ID: b.ID(), Addr: b.Addr(), Latency: answers[i].latency, Err: answers[i].err})
	}
	for _, topic := range meta.Topics { // the one that is no topic has no partitions
		for _, p := range topic.Partitions {
			for _, id := range p.Replicas {
				if !slices.ContainsFunc(found, func(b driver.BrokerHealth) bool { return b.ID == id }) {
					found = append(found, driver.BrokerHealth{ID: id, Err: failCode(driver.CodeUnavailable, "check", "",
						fmt.Sprintf("broker %d has replicas and is not in the cluster now", id), nil)})
				}
			}
		}
	}
	slices.SortFunc(found, func(a, b driver.BrokerHealth) int { return cmp.Compare(a.ID, b.ID) })
	return found
}

// topic judges one topic by what metadata says.
func (x *examination) topic(name string, meta *sarama.MetadataResponse) driver.TopicHealth {
	th := driver.TopicHealth{Name: name}
	say := func(s driver.HealthStatus, format string, args ...any) {
		if s > th.Status {
			th.Status, th.Message = s, fmt.Sprintf("topic %q: ", name)+fmt.Sprintf(format, args...)
		}
	}
	if meta == nil {
		say(driver.HealthCritical, "no broker could be asked")
		return th
	}
	i := slices.IndexFunc(meta.Topics, func(m *sarama.TopicMetadata) bool { return m.Name == name })
	switch {
	case i < 0:
		say(driver.HealthCritical, "the brokers say nothing of it")
		return th
	case codeOf(meta.Topics[i].Err) == driver.CodeNotFound:
		say(driver.HealthCritical, "it does not exist")
		return th
	case meta.Topics[i].Err != sarama.ErrNoError:
		say(driver.HealthCritical, "%v", meta.Topics[i].Err)
		return th
	}
	th.Partitions = layout(meta.Topics[i])
	if len(th.Partitions) == 0 {
		say(driver.HealthCritical, "it has no partitions")
	}
	for _, p := range th.Partitions {
		switch {
		case p.Leader < 0:
			say(driver.HealthCritical, "partition %d has no leader", p.ID)
		case len(p.InSync) < x.spec.MinInSync:
			say(driver.HealthCritical, "partition %d has %d replicas in sync, %d are needed", p.ID, len(p.InSync), x.spec.MinInSync)
		case len(p.InSync) < len(p.Replicas):
			say(driver.HealthWarning, "partition %d has %d of %d replicas in sync", p.ID, len(p.InSync), len(p.Replicas))
		}
	}
	return th
}
