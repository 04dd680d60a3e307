package probe

import (
	"slices"
	"strings"
)

// Version numbers the states of one registry. It grows by each change and is
// never 0, so 0 is "nothing seen yet".
type Version uint64

// Snapshot is the whole of a registry at one moment. It is a copy: consistent,
// free to keep, and to change.
type Snapshot struct {
	// Version is the state's number, to be handed to [Registry.Wait].
	Version Version
	// Services are all services, sorted by name.
	Services []Service
	// Ready is what the ready rule says of Services.
	Ready bool
	// Healthy is what the healthy rule says of Services.
	Healthy bool
}

// Service returns the service of that name, and whether there is one.
func (s Snapshot) Service(name string) (Service, bool) {
	i, found := find(s.Services, name)
	if !found {
		return Service{}, false
	}
	return s.Services[i], true
}

// Err returns nil if the snapshot is ready, and a [*NotReadyError] if not.
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

// NotReadyError says which services keep a registry from being ready, and why.
//
// It does not unwrap to the causes: an error of [Registry.WaitReady] then is
// context.DeadlineExceeded exactly if the wait was, not also when some service
// has that for a cause. The causes are in Services.
type NotReadyError struct {
	// Services are those that are not Running, sorted by name. It is empty if no
	// service is registered, or if all are Running and a rule of your own still
	// says no.
	Services []Service

	registered int
}

// Error names each service, its status and its cause, on one line.
func (e *NotReadyError) Error() string {
	return e.describe(func(s Service) string {
		if s.Cause == nil {
			return ""
		}
		return ": " + oneLine(s.Cause.Error())
	})
}

// Public is Error without the causes, for those who should learn what is not
// ready but not the addresses and other internals that causes carry.
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
		return "not ready: every service is Running, but the ready rule says no"
	}
}
