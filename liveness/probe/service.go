package probe

import (
	"strings"
	"time"
)

// Service is one service of a registry at one moment: a copy, free to keep.
type Service struct {
	// Name is the service's name, unique in its registry.
	Name string
	// Status is the last status told.
	Status Status
	// Cause is why, or nil. It came with the last change and may be set with any
	// status.
	Cause error
	// Since is when the status was entered. A new cause for the same status does
	// not move it.
	Since time.Time
}

// why is the cause on one line, or else the status: never empty.
func (s Service) why() string {
	if s.Cause != nil {
		return oneLine(s.Cause.Error())
	}
	return "status is " + s.Status.String()
}

// oneLine keeps a joined error, or a hostile one, from forging lines of its own.
func oneLine(text string) string {
	return strings.Join(strings.FieldsFunc(text, func(r rune) bool { return r == '\n' || r == '\r' }), "; ")
}

// Rule decides from all services of a registry, sorted by name, whether the
// whole is ready, or healthy. The slice is the rule's own.
//
// A rule is evaluated once for each change, by the goroutine that makes it and
// before that change is seen, so it must be quick and depend on its argument
// only: not on the time, not on other state. It must not change the registry.
type Rule func(services []Service) bool

// DefaultReady is the ready rule of a registry that was given none: there is at
// least one service, and every service is Running.
func DefaultReady(services []Service) bool {
	for _, s := range services {
		if !s.Status.Ready() {
			return false
		}
	}
	return len(services) > 0
}

// DefaultHealthy is the healthy rule of a registry that was given none: no
// service is Failed or Stopped. A service that was stopped because it is no
// longer wanted is taken out with [Registry.Unregister].
func DefaultHealthy(services []Service) bool {
	for _, s := range services {
		if !s.Status.Healthy() {
			return false
		}
	}
	return true
}
