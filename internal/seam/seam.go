// Package seam gives other packages of this module access to parts of a bus.Bus that package bus
// does not export.
package seam

import (
	"log/slog"

	"github.com/trunkline/trunkline/bus/hook"
	"github.com/trunkline/trunkline/internal/delivery"
)

// Bus has the methods of a *bus.Bus for consumers, RPC, liveness and the test kit. Users of the
// module cannot call them. All methods are safe for concurrent use.
type Bus interface {
	// Attach returns the value that the bus stores under key. If there is none yet, Attach stores
	// and returns the result of make. With it a package can share a value between all its users on
	// the same bus, without a global variable: for example one reader for many clients. key must
	// have an unexported type of the caller, as for a context value. make must not call Attach.
	// Attach also works on a closed bus. Closing the bus does not change the values.
	Attach(key any, make func() any) any

	// Listening reports whether a subscription to the topic exists, with or without a group. If
	// that is uncertain, it returns true. The error has CodeUnsupported if the transport cannot
	// report it. That is so for Kafka, which lists the members of groups, but not readers without
	// a group. The error has CodeNotFound for a topic that does not exist. Listening does not
	// block.
	Listening(topic string) (bool, error)

	// Check returns the settings that a subscription with these options would have, or the
	// error that Consume would return for them. batches is true for ConsumeBatches.
	Check(topic string, batches bool, opts ...delivery.SubscribeOption) (*delivery.Settings, error)

	// Logger returns the logger of the bus.
	Logger() *slog.Logger

	// AddHook adds a hook to a bus that is in use, and returns a function that removes it. It
	// first calls the hook with the current state of the connection and of each subscription.
	// Later changes come after these calls. The bus is locked during these calls, so the hook must
	// not call the bus. The hook may miss operations that began before AddHook.
	AddHook(h hook.Hook) (remove func())
}

// Of returns the Bus for its argument, which must be a *bus.Bus. Package bus sets Of.
var Of func(bus any) Bus
