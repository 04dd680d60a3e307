package probe

import (
	"fmt"
	"slices"
)

// Status is what a service's owner last said of it. The zero value is Unknown.
// It prints, and marshals to text and JSON, as its name.
type Status uint8

const (
	// Unknown: registered, and nothing heard from it yet.
	Unknown Status = iota
	// Preparing: being set up.
	Preparing
	// Prepared: set up, not started.
	Prepared
	// Running: does its work. The only status that counts as ready.
	Running
	// NotReady: started, but can't work now; it goes on trying to recover.
	NotReady
	// Stopped: ended on purpose; it won't come back by itself.
	Stopped
	// Failed: ended by a fault that it can't recover from by itself.
	Failed
)

var statusNames = [...]string{"Unknown", "Preparing", "Prepared", "Running", "NotReady", "Stopped", "Failed"}

// String returns the status's name, and Status(n) for a value that has none.
func (s Status) String() string {
	if int(s) < len(statusNames) {
		return statusNames[s]
	}
	return fmt.Sprintf("Status(%d)", uint8(s))
}

// Ready reports whether a service with this status can do its work: only Running.
func (s Status) Ready() bool { return s == Running }

// Healthy reports whether a service with this status works or will recover by
// itself: every status but Stopped and Failed, which only a restart gets out of.
func (s Status) Healthy() bool { return s != Stopped && s != Failed }

// MarshalText returns the status's name, and an error for a value that has none.
func (s Status) MarshalText() ([]byte, error) {
	if int(s) >= len(statusNames) {
		return nil, fmt.Errorf("probe: status %d has no name: use one of %v", uint8(s), statusNames)
	}
	return []byte(statusNames[s]), nil
}

// UnmarshalText accepts a status's name, exactly as String writes it.
func (s *Status) UnmarshalText(text []byte) error {
	i := slices.Index(statusNames[:], string(text))
	if i < 0 {
		return fmt.Errorf("probe: unknown status %q: use one of %v", text, statusNames)
	}
	*s = Status(i)
	return nil
}
