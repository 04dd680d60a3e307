package bustest

import "github.com/trunkline/trunkline/bus/driver"

var _ driver.Listeners = (*Faults)(nil)

// Listening is the transport's, Unsupported where it has none. Subscriptions that a
// fault has cut off count.
func (f *Faults) Listening(topic string) (bool, error) {
	inner, ok := f.inner.(driver.Listeners)
	if !ok {
		return false, f.failure(driver.CodeUnsupported, "ask for listeners", topic, "the transport does not know who is subscribed", nil)
	}
	listening, err := inner.Listening(topic)
	if listening || err != nil {
		return listening, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, s := range f.sessions {
		if s.sub.Topic == topic {
			return true, nil
		}
	}
	return false, nil
}
