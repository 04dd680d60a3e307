package bus

import (
	"log/slog"
	"maps"
	"slices"
	"sync"

	"github.com/trunkline/trunkline/bus/driver"
	"github.com/trunkline/trunkline/bus/hook"
	"github.com/trunkline/trunkline/internal/delivery"
	"github.com/trunkline/trunkline/internal/seam"
)

func init() { seam.Of = func(b any) seam.Bus { return internalBus{b.(*Bus)} } }

// internalBus implements seam.Bus, for other packages of this module.
type internalBus struct{ *Bus }

// addedHook is a hook that AddHook added. Its address identifies it for the removal.
type addedHook struct{ hook hook.Hook }

// attachments has the values of Attach by key.
type attachments struct {
	mu sync.Mutex
	m  map[any]any
}

// Attach is documented in seam.Bus.
func (p internalBus) Attach(key any, make func() any) any {
	a := &p.attached
	a.mu.Lock()
	defer a.mu.Unlock()
	if v, ok := a.m[key]; ok {
		return v
	}
	v := make()
	if a.m == nil {
		a.m = map[any]any{}
	}
	a.m[key] = v
	return v
}

// Listening is documented in seam.Bus.
func (p internalBus) Listening(topic string) (bool, error) {
	fail := func(code Code, reason string) error {
		return &Error{Code: code, Op: "ask for listeners", Transport: p.caps.Name, Topic: topic, Reason: reason}
	}
	if topic == "" {
		return false, fail(CodeInvalidArgument, "the name of the topic is empty")
	}
	l, ok := p.t.(driver.Listeners)
	if !ok {
		return false, fail(CodeUnsupported, "this transport cannot list its subscribers")
	}
	return l.Listening(topic)
}

// Check is documented in seam.Bus.
func (p internalBus) Check(topic string, batches bool, opts ...delivery.SubscribeOption) (*delivery.Settings, error) {
	if err := p.enter("subscribe", topic); err != nil {
		return nil, err
	}
	defer p.calls.leave()
	all := make([]SubscribeOption, 0, len(opts)+1)
	if batches {
		all = append(all, inBatches)
	}
	for _, o := range opts {
		all = append(all, o)
	}
	return p.resolve(topic, all)
}

// Logger is documented in seam.Bus.
func (p internalBus) Logger() *slog.Logger { return p.cfg.logger }

// AddHook is documented in seam.Bus.
func (p internalBus) AddHook(h hook.Hook) (remove func()) {
	b := p.Bus
	b.observing.Lock() // h must get the current state before any later change
	defer b.observing.Unlock()
	b.mu.Lock()
	a := &addedHook{h}
	b.added = append(b.added, a)
	b.rebuildHooks()
	connection := b.connection
	subs := slices.Collect(maps.Keys(b.subs))
	b.mu.Unlock()
	if c, ok := h.(hook.Connection); ok {
		c.OnConnection(connection)
	}
	if x, ok := h.(hook.Session); ok {
		for _, s := range subs {
			s.reportState(x)
		}
	}
	return func() {
		b.mu.Lock()
		defer b.mu.Unlock()
		b.added = slices.DeleteFunc(slices.Clone(b.added), func(x *addedHook) bool { return x == a })
		b.rebuildHooks()
	}
}

// rebuildHooks sets b.hooks to the hooks of WithHooks and those of AddHook. The caller holds b.mu.
func (b *Bus) rebuildHooks() {
	hooks := b.cfg.hooks.Clone()
	for _, a := range b.added {
		hooks.Add(a.hook)
	}
	b.hooks.Store(&hooks)
}
