package probe

import (
	"fmt"
	"slices"
)

// Status is the state of a service, as its owner last reported it. The zero value is
// Unknown. A Status is printed, and encoded as text and JSON, as its name.
type Status uint8

const (
	// Unknown means that the service is registered, and its owner has reported nothing yet.
	Unknown Status = iota
	// Preparing means that the service is being set up.
	Preparing
	// Prepared means that the service is set up, and does not work yet.
	Prepared
	// Running means that the service does its work. It is the only status that is ready.
	Running
	// NotReady means that the service has been started and cannot work now. It tries to recover.
	NotReady
	// Stopped means that the service was ended on purpose, and will not start again by itself.
	Stopped
	// Failed means that the service has a fault from which it will not recover by itself.
	Failed
)

var statusNames = [...]string{"Unknown", "Preparing", "Prepared", "Running", "NotReady", "Stopped", "Failed"}

// String returns the name of the status, and Status(n) for an undefined value.
func (s Status) String() string {
	if int(s) < len(statusNames) {
		return statusNames[s]
	}
	return fmt.Sprintf("Status(%d)", uint8(s))
}

// Ready reports whether a service with this status can do its work. Only Running can.
func (s Status) Ready() bool { return s == Running }

// Healthy reports whether a service with this status works or will recover by itself.
// Every status is healthy except Stopped and Failed.
func (s Status) Healthy() bool { return s != Stopped && s != Failed }

// MarshalText returns the name of the status. It returns an error for an undefined value.
func (s Status) MarshalText() ([]byte, error) {
	if int(s) >= len(statusNames) {
		return nil, fmt.Errorf("probe: status %d is undefined: use one of %v", uint8(s), statusNames)
	}
	return []byte(statusNames[s]), nil
}

// UnmarshalText accepts the name of a status, exactly as String returns it.
func (s *Status) UnmarshalText(text []byte) error {
	i := slices.Index(statusNames[:], string(text))
	if i < 0 {
		return fmt.Errorf("probe: unknown status %q: use one of %v", text, statusNames)
	}
	*s = Status(i)
	return nil
}
