package probe

import (
	"slices"
	"strings"
)

// Version numbers the states of one registry. It grows with each change and is never 0, so
// 0 stands for "no state seen yet".
type Version uint64

// Snapshot is the state of a registry at one moment. It is a consistent copy, and the caller
// may keep and change it.
type Snapshot struct {
	// Version is the number of the state. Pass it to [Registry.Wait] to wait for the next
	// one.
	Version Version
	// Services are all services of the registry, sorted by name.
	Services []Service
	// Ready is the result of the ready rule for Services.
	Ready bool
	// Healthy is the result of the healthy rule for Services.
	Healthy bool
}

// Service returns the service with that name, and whether it exists.
func (s Snapshot) Service(name string) (Service, bool) {
	i, found := find(s.Services, name)
	if !found {
		return Service{}, false
	}
	return s.Services[i], true
}

// Err returns nil if the snapshot is ready, and a [*NotReadyError] otherwise.
func (s Snapshot) Err() error {
	if s.Ready {
		return nil
	}
	err := &NotReadyError{registered: len(s.Services)}
	for _, service := range s.Services {
		if !service.Status.Ready() {
			err.Services = append(err.Services, service)
		}
	}
	return err
}

func find(services []Service, name string) (int, bool) {
	return slices.BinarySearchFunc(services, name, func(s Service, name string) int {
		return strings.Compare(s.Name, name)
	})
}

// NotReadyError says which services are not ready, and why.
//
// It does not unwrap to the causes of the services. So an error of [Registry.WaitReady] is
// context.DeadlineExceeded only if the wait timed out, and not because a service has that
// cause. The causes are in Services.
type NotReadyError struct {
	// Services are the services that are not Running, sorted by name. It is empty if no
	// service is registered, or if every service is Running and the program's ready rule
	// returned false.
	Services []Service

	registered int
}

// Error returns one line with the name, the status and the cause of each service.
func (e *NotReadyError) Error() string {
	return e.describe(func(s Service) string {
		if s.Cause == nil {
			return ""
		}
		return ": " + oneLine(s.Cause.Error())
	})
}

// Public returns the text of Error without the causes. Use it for clients that must not get
// the addresses and other internals that causes can contain.
func (e *NotReadyError) Public() string {
	return e.describe(func(Service) string { return "" })
}

func (e *NotReadyError) describe(why func(Service) string) string {
	switch {
	case len(e.Services) > 0:
		parts := make([]string, len(e.Services))
		for i, s := range e.Services {
			parts[i] = oneLine(s.Name) + " is " + s.Status.String() + why(s)
		}
		return "not ready: " + strings.Join(parts, "; ")
	case e.registered == 0:
		return "not ready: no service is registered"
	default:
		return "not ready: every service is Running, but the ready rule of the program is not satisfied"
	}
}
