package probe

import (
	"strings"
	"time"
)

// Service is one service of a registry at one moment. It is a copy, and the caller may keep
// it.
type Service struct {
	// Name is unique in the registry.
	Name string
	// Status is the status that the owner last reported.
	Status Status
	// Cause is why the service has this status. It may be nil, and it may be set with any
	// status.
	Cause error
	// Since is when Status last changed. A new cause does not change it.
	Since time.Time
}

// why returns the cause on one line, or the status if there is no cause.
func (s Service) why() string {
	if s.Cause != nil {
		return oneLine(s.Cause.Error())
	}
	return "status is " + s.Status.String()
}

// oneLine replaces line breaks in text, so that an error text cannot forge a line for
// another service.
func oneLine(text string) string {
	return strings.Join(strings.FieldsFunc(text, func(r rune) bool { return r == '\n' || r == '\r' }), "; ")
}

// Rule decides whether a registry is ready, or healthy. Its argument is a copy of all
// services of the registry, sorted by name.
//
// The registry calls a rule once for each change, on the goroutine that makes the change
// and before observers get it. So a rule must be quick, and depend on its argument only.
// It must not change the registry.
type Rule func(services []Service) bool

// DefaultReady is the default ready rule: there is at least one service, and every service
// is Running.
func DefaultReady(services []Service) bool {
	for _, s := range services {
		if !s.Status.Ready() {
			return false
		}
	}
	return len(services) > 0
}

// DefaultHealthy is the default healthy rule: no service is Failed or Stopped. Use
// [Registry.Unregister] to remove a service that was stopped because it is not needed any
// more.
func DefaultHealthy(services []Service) bool {
	for _, s := range services {
		if !s.Status.Healthy() {
			return false
		}
	}
	return true
}
