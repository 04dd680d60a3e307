package liveness

import "github.com/trunkline/trunkline/bus"

// Hook is what a monitor adds to its bus.
type Hook interface {
	bus.PublishHook
	bus.DeliveryHook
	bus.CommitHook
}

// HookOf returns the hook of m, for tests that make events of the past.
func HookOf(m *Monitor) Hook { return m.watcher }
