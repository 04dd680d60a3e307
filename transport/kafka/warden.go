package kafka

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"sync"
	"time"

	"github.com/IBM/sarama"
)

// warden finds brokers that have stopped answering, without closing their connections,
// while others answer: a process that is stopped, a machine that hangs. Sarama waits for
// each answer as long as it may take, and then asks the same broker again, until the
// cluster has told it of another leader. The warden closes what waits for such a broker
// and keeps it from being dialled, so that everything waits for the cluster only.
//
// It is not for a cluster of which no broker answers: that is the monitor's.
type warden struct {
	open   func() *network // one that nobody guards, for its own questions
	config func(*network) *sarama.Config
	addrs  func() []string
	guard  *guard
	after  time.Duration // how long an answer may take before it is looked into
	probe  time.Duration // how long the answer to a probe may take
	logger *slog.Logger

	looking sync.WaitGroup
	mu      sync.Mutex
	busy    map[string]bool // addresses that are being looked into
}

const (
	wardenPause = 250 * time.Millisecond
	// dialPause is the least time between a failed dial and the next to the same address,
	// and how long one to a broker that is kept out takes: sarama tries again at once.
	dialPause = 200 * time.Millisecond
)

var errKeptOut = errors.New("the broker does not answer, others do")

// guard is what the networks of a transport share: whom not to dial, and each other.
type guard struct {
	mu       sync.Mutex
	networks map[*network]struct{}
	out      map[string]struct{} // addresses that are kept out
}

func newGuard() *guard {
	return &guard{networks: make(map[*network]struct{}), out: make(map[string]struct{})}
}

func (g *guard) add(n *network) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.networks[n] = struct{}{}
}

func (g *guard) remove(n *network) {
	g.mu.Lock()
	defer g.mu.Unlock()
	delete(g.networks, n)
}

func (g *guard) keptOut(addr string) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	_, out := g.out[addr]
	return out
}

// keepOut refuses dials to addr from now on, and closes its connections.
func (g *guard) keepOut(addr string) {
	g.mu.Lock()
	g.out[addr] = struct{}{}
	networks := make([]*network, 0, len(g.networks))
	for n := range g.networks {
		networks = append(networks, n)
	}
	g.mu.Unlock()
	for _, n := range networks {
		n.resetTo(addr)
	}
}

func (g *guard) letIn(addr string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	delete(g.out, addr)
}

// slow returns the addresses of which an answer has been due for longer than d.
func (g *guard) slow(d time.Duration) map[string]bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	found := make(map[string]bool)
	for n := range g.networks {
		n.slow(d, found)
	}
	return found
}

// run lasts until ctx ends, and what it has started too.
func (w *warden) run(ctx context.Context) {
	w.busy = make(map[string]bool)
	defer w.looking.Wait()
	ticker := time.NewTicker(wardenPause)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		for addr := range w.guard.slow(w.after) {
			w.mu.Lock()
			started := w.busy[addr]
			w.busy[addr] = true
			w.mu.Unlock()
			if !started {
				w.looking.Go(func() { w.look(ctx, addr) })
			}
		}
	}
}

// look asks a broker whether it is there. If it does not answer and another does, it is
// kept out until it answers, or until none does.
func (w *warden) look(ctx context.Context, addr string) {
	defer func() {
		w.mu.Lock()
		delete(w.busy, addr)
		w.mu.Unlock()
	}()
	if !w.alone(ctx, addr) {
		sleep(ctx, w.after)
		return
	}
	w.logger.Warn("a broker has stopped answering and is left alone until it does", "broker", addr)
	w.guard.keepOut(addr)
	defer w.guard.letIn(addr)
	for ctx.Err() == nil && w.alone(ctx, addr) {
		sleep(ctx, wardenPause)
	}
	if ctx.Err() == nil {
		w.logger.Info("a broker that had stopped answering is asked again", "broker", addr)
	}
}

// alone says that addr does not answer while another broker does.
func (w *warden) alone(ctx context.Context, addr string) bool {
	ctx, cancel := context.WithTimeout(ctx, w.probe)
	defer cancel()
	there := make(chan bool, 1)
	others := make(chan struct{}, 1)
	var asking sync.WaitGroup
	asking.Go(func() { there <- w.answers(ctx, addr) })
	for _, other := range w.addrs() {
		if other != addr && !w.guard.keptOut(other) {
			asking.Go(func() {
				if w.answers(ctx, other) {
					select {
					case others <- struct{}{}:
					default:
					}
				}
			})
		}
	}
	alone := false
	if !<-there {
		select {
		case <-others:
			alone = true
		default:
			select {
			case <-others:
				alone = true
			case <-ctx.Done():
			}
		}
	}
	cancel()
	asking.Wait()
	return alone
}

// answers makes a round trip over a connection that is made for it.
func (w *warden) answers(ctx context.Context, addr string) bool {
	n := w.open()
	defer n.cut()
	stop := context.AfterFunc(ctx, n.cut)
	defer stop()
	conf := w.config(n)
	b := sarama.NewBroker(addr)
	if err := b.Open(conf); err != nil {
		return false
	}
	defer b.Close()
	err := ask(b, conf.Version)
	return err == nil || refused(err)
}

// refuse is the error of a dial to a broker that is kept out.
func refuse(netw string) error { return &net.OpError{Op: "dial", Net: netw, Err: errKeptOut} }
