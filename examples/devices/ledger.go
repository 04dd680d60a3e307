package devices

import (
	"fmt"
	"slices"
	"sync"
)

// Ledger records the steps of the adapter's devices. It is safe for concurrent use.
type Ledger struct {
	mu         sync.Mutex
	devices    map[string]Step
	done       int
	repeated   int
	violations []string
}

// maxViolations bounds the violations that a Ledger keeps.
const maxViolations = 20

// Summary is a snapshot of a Ledger.
type Summary struct {
	// Devices counts the adopted devices, and Enabled those of them that are enabled.
	Devices int `json:"devices"`
	Enabled int `json:"enabled"`
	// Steps counts the steps that were done, and Repeated the calls that repeated the
	// last step of a device.
	Steps    int `json:"steps"`
	Repeated int `json:"repeated"`
	// Violations describes requests that were out of order or not the expected ones; at
	// most 20 of them.
	Violations []string `json:"violations"`
}

// Apply does a step for a device. key is the key of the call. Apply returns an error and
// does nothing if the key or the request is not the expected one, or if the step is neither
// the next one nor a repetition of the last one.
func (l *Ledger) Apply(step Step, device, key string, request any) (Answer, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.devices == nil {
		l.devices = map[string]Step{}
	}
	state := l.devices[device]
	var wrong string
	switch {
	case key != device:
		wrong = fmt.Sprintf("%s of device %q has the key %q", step, device, key)
	case !isExpected(step, device, request):
		wrong = fmt.Sprintf("%s of device %q is not the expected request: %v", step, device, request)
	case step == state:
		l.repeated++
		return AnswerOf(step, device), nil
	case step != state+1:
		wrong = fmt.Sprintf("%s of device %q is out of order: it follows %s", step, device, state)
	}
	if wrong != "" {
		if len(l.violations) < maxViolations {
			l.violations = append(l.violations, wrong)
		}
		return Answer{}, fmt.Errorf("devices: %s", wrong)
	}
	l.devices[device] = step
	l.done++
	return AnswerOf(step, device), nil
}

// State returns the last step of a device.
func (l *Ledger) State(device string) Step {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.devices[device]
}

// Summary returns the present counts.
func (l *Ledger) Summary() Summary {
	l.mu.Lock()
	defer l.mu.Unlock()
	s := Summary{Devices: len(l.devices), Steps: l.done, Repeated: l.repeated, Violations: slices.Clone(l.violations)}
	for _, state := range l.devices {
		if state == Enable {
			s.Enabled++
		}
	}
	return s
}
