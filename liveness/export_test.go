package liveness

import "github.com/trunkline/trunkline/bus/hook"

// Hook is the hook that a monitor adds to its bus.
type Hook interface {
	hook.Publish
	hook.Delivery
	hook.Commit
}

// HookOf returns the hook of m, for tests that make events of the past.
func HookOf(m *Monitor) Hook { return m.watcher }
