// Package busseam gives the packages of this module access to what a bus does not
// export. Package bus sets the functions; they may be used once it is imported.
package busseam

import "log/slog"

var (
	// AddHook adds a hook, which implements some of the bus's hook interfaces, to a
	// *bus.Bus that exists already, until remove is called. It first calls the hook with
	// the present state of the connection and of each subscription. At that time the bus
	// is locked: the hook must not call the bus.
	AddHook func(bus, hook any) (remove func())

	// Logger returns the logger of a *bus.Bus.
	Logger func(bus any) *slog.Logger
)
