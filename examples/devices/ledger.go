package devices

import (
	"fmt"
	"slices"
	"sync"
)

// Ledger is the adapter's memory of its devices. It is safe for concurrent use.
type Ledger struct {
	mu         sync.Mutex
	devices    map[string]Step
	done       int
	repeated   int
	violations []string
}

// maxViolations bounds what is remembered in words; all are counted.
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

// Apply does a step for a device. It fails, and does nothing, unless the request is
// the very one that must come, and the step the next one or the last one again.
// key is what the call was keyed with.
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
		wrong = fmt.Sprintf("%s of device %q came with the key %q", step, device, key)
	case !asSent(step, device, request):
		wrong = fmt.Sprintf("%s of device %q is not what must have been sent: %v", step, device, request)
	case step == state:
		l.repeated++
		return AnswerOf(step, device), nil
	case step != state+1:
		wrong = fmt.Sprintf("%s of device %q is out of order: it came after %s", step, device, state)
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

// State returns the last step done for a device.
func (l *Ledger) State(device string) Step {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.devices[device]
}

// Summary returns the present figures.
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
