// Package seam gives the packages of this module what package bus does not export.
package seam

import (
	"log/slog"

	"github.com/trunkline/trunkline/bus/hook"
	"github.com/trunkline/trunkline/internal/delivery"
)

// Bus is what consumers, RPC, liveness and the test kit use of a *bus.Bus, and users do not.
// All methods are safe for concurrent use.
type Bus interface {
	// Attach returns the value that is kept with the bus under key, and the result of make if
	// there is none yet. It lets a package share a value among all who use it on the same bus,
	// such as one reader for many clients, without a global variable. key has a type of the
	// caller's own, as for a context value. make must not call Attach. Attach works on a closed
	// bus too, and closing the bus does not touch the values.
	Attach(key any, make func() any) any

	// Listening reports whether a subscription to the topic exists, in a group or not. It
	// returns true as soon as that may be so, and false only when it is known that there is
	// none. The error is Unsupported where the transport cannot know, as with every broker:
	// Kafka knows the members of groups, and not readers without one. The error is NotFound for
	// a topic that does not exist. It does not block.
	Listening(topic string) (bool, error)

	// Check returns the settings that a subscription with these options would have, or the
	// error with which it would fail at once. batches is true for ConsumeBatches.
	Check(topic string, batches bool, opts ...delivery.SubscribeOption) (*delivery.Settings, error)

	// Logger returns the logger of the bus.
	Logger() *slog.Logger

	// AddHook adds a hook to a bus that is in use, and returns a function that removes it. It
	// first calls the hook with the state of the connection and of each subscription; what
	// follows comes after. The bus is locked during these calls: the hook must not call it.
	// Operations that began earlier may not be observed.
	AddHook(h hook.Hook) (remove func())
}

// Of returns the plumbing of a *bus.Bus. Package bus sets it.
var Of func(bus any) Bus
