package delivery

import (
	"context"
	"fmt"
	"time"

	"github.com/trunkline/trunkline/bus/driver"
)

// Order is the order in which a subscription handles the records of a partition.
type Order uint8

// The orders.
const (
	OrderDefault     Order = iota // by partition if the transport keeps order, otherwise unordered
	OrderByPartition              // one at a time, in the order of the log
	OrderByKey                    // one at a time for each key; records without a key are unordered
	Unordered
)

// Settings are the options of one subscription. Package bus documents what they mean.
type Settings struct {
	Group           string
	Start           *driver.Start
	Partitions      []int32
	Order           Order
	Window          int
	Ahead           int
	Concurrency     int // 0: no bound
	InFlight        int // 0: no bound
	MinBackoff      time.Duration
	MaxBackoff      time.Duration
	CommitInterval  *time.Duration
	DeadLetterTopic string
	AtMostOnce      bool
	Batch           *Batch // nil for a handler of single messages

	// The following are not options of package bus: see the functions of this package.
	DrainFetched bool
	Reuse        bool
	Settle       ItemHandler
	Admit        func(context.Context, AdmissionRequest) error
	Hooks        Hooks // the subscription's own
}

// Batch are the settings of a subscription that handles batches.
type Batch struct {
	Size int // 0: the default
	Age  time.Duration
}

// SubscribeOption is an option of a subscription: of bus.Bus.Consume, of a managed
// consumer and of an RPC server. Its only implementation is [Option].
type SubscribeOption interface {
	ConsumerOption
	ServerOption
	subscribe(*Settings) error
}

// ConsumerOption is an option of a managed consumer.
type ConsumerOption interface{ consumerOption() }

// ServerOption is an option of an RPC server.
type ServerOption interface{ serverOption() }

// ForConsumer makes the type that embeds it a [ConsumerOption].
type ForConsumer struct{}

func (ForConsumer) consumerOption() {}

// ForServer makes the type that embeds it a [ServerOption].
type ForServer struct{}

func (ForServer) serverOption() {}

// Option changes the settings of one subscription.
type Option func(*Settings) error

func (Option) consumerOption()               {}
func (Option) serverOption()                 {}
func (o Option) subscribe(s *Settings) error { return o(s) }

// Default returns the settings of a subscription without options.
func Default() *Settings {
	return &Settings{Ahead: 1024, MinBackoff: 100 * time.Millisecond, MaxBackoff: 10 * time.Second}
}

// Apply applies the options in their order.
func (s *Settings) Apply(opts ...SubscribeOption) error {
	for _, o := range opts {
		if o == nil {
			return Invalid("a subscription option is nil")
		}
		if err := o.subscribe(s); err != nil {
			return err
		}
	}
	return nil
}

// Resolve returns an error if the transport does not support a setting. It sets the defaults of
// the settings that were not given. The caller adds the operation and the topic to the error.
func (s *Settings) Resolve(caps driver.Capabilities) error {
	if err := s.supported(caps); err != nil {
		return err
	}
	if s.Order == OrderDefault {
		s.Order = OrderByPartition
		if !caps.Ordered {
			s.Order = Unordered
		}
	}
	switch {
	case s.Batch != nil:
		if err := s.resolveBatch(caps); err != nil {
			return err
		}
	case s.Order == OrderByPartition:
		s.Window = 1
	case s.Window == 0:
		s.Window = max(64, s.Concurrency)
	}
	if s.AtMostOnce && (s.Admit != nil || s.InFlight > 0) {
		return Invalid("AtMostOnce acknowledges a message before its handler begins, so it cannot be combined with InFlight, a pause or a rate: remove one of them")
	}
	if s.Settle != nil && (s.Batch != nil || s.AtMostOnce || s.Order == OrderByPartition) {
		return Invalid("SettleLater cannot be combined with batches, AtMostOnce or OrderByPartition: remove one of them")
	}
	s.Ahead = max(s.Ahead, s.Window)
	if s.Start == nil {
		s.Start = &driver.Start{Kind: driver.StartNewest}
		if s.Group != "" && caps.Replay {
			s.Start.Kind = driver.StartOldest
		}
	}
	if s.CommitInterval == nil {
		s.CommitInterval = &caps.CommitInterval
	}
	return nil
}

func (s *Settings) supported(caps driver.Capabilities) error {
	no := func(reason string) error {
		return &driver.Error{Code: driver.CodeUnsupported, Op: "subscribe", Transport: caps.Name, Reason: reason}
	}
	switch {
	case s.Group != "" && !caps.Groups:
		return no("this transport has no consumer groups: remove Group")
	case s.Partitions != nil && !caps.Partitions:
		return no("the topics of this transport have no partitions: remove OnlyPartitions")
	case s.Partitions != nil && s.Group != "":
		return Invalid("a group assigns the partitions to its members: remove Group or OnlyPartitions")
	case s.Order == OrderByPartition && !caps.Ordered:
		return no("this transport keeps no order: use Unordered")
	case s.Order == OrderByKey && !caps.Ordered:
		return no("this transport keeps no order, not even by key: use Unordered")
	case s.Order == OrderByKey && !caps.Keys:
		return no("this transport carries no keys: use OrderByPartition")
	case s.Start != nil && s.Start.Kind != driver.StartNewest && !caps.Replay:
		return no("this transport keeps no log: only FromNewest is possible")
	}
	return nil
}

// resolveBatch checks what can be combined with batches, and sets the window.
func (s *Settings) resolveBatch(caps driver.Capabilities) error {
	b := s.Batch
	switch {
	case s.Order == OrderByKey:
		return Invalid("a batch is in the order of its partition: remove OrderByKey")
	case s.AtMostOnce:
		return Invalid("AtMostOnce cannot be combined with batches: remove it, or handle single messages")
	case b.Size > 1 && caps.DirectAck:
		return &driver.Error{Code: driver.CodeUnsupported, Op: "subscribe", Transport: caps.Name,
			Reason: "this transport delivers one message at a time: remove BatchSize"}
	}
	if b.Size == 0 {
		b.Size = 64
		if s.Window > 0 {
			b.Size = min(b.Size, s.Window)
		}
		if s.InFlight > 0 {
			b.Size = min(b.Size, s.InFlight)
		}
		if caps.DirectAck {
			b.Size = 1
		}
	}
	if s.Window > 0 && s.Window < b.Size {
		return Invalid(fmt.Sprintf("a batch of %d does not fit into a window of %d: make the window at least the batch size", b.Size, s.Window))
	}
	if s.InFlight > 0 && s.InFlight < b.Size {
		return Invalid(fmt.Sprintf("a batch of %d does not fit into InFlight(%d): make it at least the batch size", b.Size, s.InFlight))
	}
	s.Window = b.Size
	// A shutdown always handles the batch that is being collected. It handles everything that was
	// fetched if no other subscription would get it.
	s.DrainFetched = !caps.Redelivery || s.Group == ""
	return nil
}

// MaxFetch returns the largest number of records that a Fetch of the subscription may return.
func (s *Settings) MaxFetch() int { return min(s.Window+s.Ahead, 512) }

// Invalid returns an error with CodeInvalidArgument.
func Invalid(reason string) error {
	return &driver.Error{Code: driver.CodeInvalidArgument, Op: "configure", Reason: reason}
}
