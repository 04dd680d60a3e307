package kafka

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/IBM/sarama"
)

// watchdog finds brokers that hang while others answer, such as a stopped process or a
// frozen machine. Their connections stay open. sarama would wait for each answer until the
// time-out, and then ask the same broker again until the cluster names another leader. The
// watchdog isolates such a broker, so that requests only wait for the election.
//
// If no broker answers, the watchdog does nothing. The connection monitor handles that.
type watchdog struct {
	open      func() *network // opens a network without isolation, for probes
	config    func(*network) *sarama.Config
	addrs     func() []string
	isolation *isolation
	after     time.Duration // an answer that takes longer leads to a probe
	timeout   time.Duration // of a probe
	logger    *slog.Logger

	probing sync.WaitGroup
	mu      sync.Mutex
	busy    map[string]bool // addresses that a goroutine is examining
}

// watchdogInterval is the interval between the checks for overdue answers, and between the
// probes of an isolated broker.
const watchdogInterval = 250 * time.Millisecond

// run finds overdue answers until ctx ends. It returns after all its goroutines have ended.
func (w *watchdog) run(ctx context.Context) {
	w.busy = make(map[string]bool)
	defer w.probing.Wait()
	ticker := time.NewTicker(watchdogInterval)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		for addr := range w.isolation.overdue(w.after) {
			w.mu.Lock()
			started := w.busy[addr]
			w.busy[addr] = true
			w.mu.Unlock()
			if !started {
				w.probing.Go(func() { w.examine(ctx, addr) })
			}
		}
	}
}

// examine probes a broker. If it does not answer while another does, the watchdog isolates
// it until it answers or until no broker does.
func (w *watchdog) examine(ctx context.Context, addr string) {
	defer func() {
		w.mu.Lock()
		delete(w.busy, addr)
		w.mu.Unlock()
	}()
	if !w.hangsAlone(ctx, addr) {
		sleep(ctx, w.after)
		return
	}
	w.logger.Warn("broker does not answer while others do: not using it until it answers", "broker", addr)
	w.isolation.isolate(addr)
	defer w.isolation.readmit(addr)
	for ctx.Err() == nil && w.hangsAlone(ctx, addr) {
		sleep(ctx, watchdogInterval)
	}
	if ctx.Err() == nil {
		w.logger.Info("using a broker again that did not answer before", "broker", addr)
	}
}

// hangsAlone reports whether addr does not answer while another broker does.
func (w *watchdog) hangsAlone(ctx context.Context, addr string) bool {
	ctx, cancel := context.WithTimeout(ctx, w.timeout)
	defer cancel()
	answered := make(chan bool, 1)
	otherAnswered := make(chan struct{}, 1)
	var probes sync.WaitGroup
	probes.Go(func() { answered <- w.answers(ctx, addr) })
	for _, other := range w.addrs() {
		if other != addr && !w.isolation.contains(other) {
			probes.Go(func() {
				if w.answers(ctx, other) {
					select {
					case otherAnswered <- struct{}{}:
					default:
					}
				}
			})
		}
	}
	alone := false
	if !<-answered {
		select {
		case <-otherAnswered:
			alone = true
		default:
			select {
			case <-otherAnswered:
				alone = true
			case <-ctx.Done():
			}
		}
	}
	cancel()
	probes.Wait()
	return alone
}

// answers makes a round trip to addr over a new connection. A broker that rejects the
// credentials answers.
func (w *watchdog) answers(ctx context.Context, addr string) bool {
	n := w.open()
	defer n.close()
	stop := context.AfterFunc(ctx, n.close)
	defer stop()
	conf := w.config(n)
	b := sarama.NewBroker(addr)
	if err := b.Open(conf); err != nil {
		return false
	}
	defer b.Close()
	err := roundTrip(b, conf.Version)
	return err == nil || isRefused(err)
}
