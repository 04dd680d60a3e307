package delivery

import (
	"cmp"
	"context"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/semaphore"

	"github.com/trunkline/trunkline/bus/driver"
)

// Config is what an engine needs in addition to the settings.
type Config struct {
	*Settings // resolved
	Topic     string
	Caps      driver.Capabilities
	Logger    *slog.Logger
	Observers Observers
	// CommitTimeout bounds a commit.
	CommitTimeout time.Duration
	// Handle or HandleBatch is called with the items. HandleBatch returns an error for each.
	Handle      ItemHandler
	HandleBatch func(ctx context.Context, batch []*Item) []error
	// Publish publishes a dead letter, and returns nil once the transport's log has it.
	Publish func(ctx context.Context, r *driver.Record) error
}

// Engine delivers the records of one subscription to its handler. The subscription follows
// the assignment and calls [Engine.Run] for each partition. All methods are safe for
// concurrent use.
//
// The code: claim.go fetches the records of a partition and admits them to the window. workers.go
// has the goroutines that handle records, and handle.go what a worker does with one record.
// state.go makes every decision about a record. window.go records what is acknowledged, and
// commit.go commits it. batch.go fetches and handles batches.
type Engine struct {
	cfg      Config
	log      *failureLog
	slots    chan struct{}       // Concurrency; nil for no bound
	inFlight *semaphore.Weighted // InFlight; nil for no bound

	// ctx ends with the subscription's context, with Stop, and when a shutdown runs out of
	// time. The context of every handler ends with it.
	ctx  context.Context
	stop context.CancelCauseFunc
	// draining is closed when a shutdown begins.
	draining  chan struct{}
	drainOnce sync.Once
	// fetching ends when draining is closed and when ctx ends.
	fetching     context.Context
	stopFetching context.CancelCauseFunc

	mu     sync.Mutex
	claims map[*claim]int64 // the claims that run, with the offset at which each began
}

// New returns the engine of a subscription. The subscription ends when ctx ends.
func New(ctx context.Context, cfg Config) *Engine {
	e := &Engine{cfg: cfg, log: newFailureLog(cfg), draining: make(chan struct{}), claims: map[*claim]int64{}}
	if cfg.Concurrency > 0 {
		e.slots = make(chan struct{}, cfg.Concurrency)
	}
	if cfg.InFlight > 0 {
		e.inFlight = semaphore.NewWeighted(int64(cfg.InFlight))
	}
	e.ctx, e.stop = context.WithCancelCause(ctx)
	e.fetching, e.stopFetching = context.WithCancelCause(e.ctx)
	return e
}

// ErrDraining is the cause with which a shutdown ends the context of [Engine.Fetching].
var ErrDraining error = &driver.Error{Code: driver.CodeClosed, Op: "fetch", Reason: "the subscription is being closed"}

// Context returns a context that ends with the subscription.
func (e *Engine) Context() context.Context { return e.ctx }

// Fetching returns a context that ends when the subscription must not fetch any more.
func (e *Engine) Fetching() context.Context { return e.fetching }

// Draining returns a channel that is closed when a shutdown begins.
func (e *Engine) Draining() <-chan struct{} { return e.draining }

// Drain begins a shutdown: the engine fetches nothing more, and calls no handler for a new record.
// Drain does not wait. Run returns when the handlers of its partition have returned.
func (e *Engine) Drain() {
	e.drainOnce.Do(func() {
		close(e.draining)
		e.stopFetching(ErrDraining)
	})
}

// Stop ends the contexts of all handlers with this cause.
func (e *Engine) Stop(cause error) { e.stop(cause) }

// Run delivers the records of a partition until it is revoked or the subscription ends. It
// then waits for the handlers, commits what they acknowledged, and releases the partition.
func (e *Engine) Run(p driver.Partition) {
	c := newClaim(e, p)
	start := int64(0)
	if x, ok := p.(driver.Extent); ok {
		start, _, _ = x.Extent()
	}
	e.mu.Lock()
	e.claims[c] = start
	e.mu.Unlock()
	defer func() {
		e.mu.Lock()
		delete(e.claims, c)
		e.mu.Unlock()
	}()
	c.run()
}

// othersRedeliver reports whether another member of the group gets the records that this
// subscription fetched and did not handle.
func (e *Engine) othersRedeliver() bool { return e.cfg.Caps.Redelivery && e.cfg.Group != "" }

// Lag is the lag of the subscription in one partition; see bus.PartitionLag.
type Lag struct {
	Partition int32
	Position  int64
	End       int64
	Records   int64
}

// Lag returns the lag in each partition, ordered by partition; see bus.Subscription.Lag. It does
// not block.
func (e *Engine) Lag() []Lag {
	e.mu.Lock()
	claims := maps.Clone(e.claims)
	e.mu.Unlock()
	lags := make([]Lag, 0, len(claims))
	for c, start := range claims {
		if l, known := c.lag(start); known {
			lags = append(lags, l)
		}
	}
	slices.SortFunc(lags, func(a, b Lag) int { return cmp.Compare(a.Partition, b.Partition) })
	return lags
}
