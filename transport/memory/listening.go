package memory

import "github.com/trunkline/trunkline/bus/driver"

var _ driver.Listeners = (*Transport)(nil)

// Listening says whether anybody, on any transport of the log, is subscribed to the
// topic. Who is disconnected counts, who has closed or crashed does not. NotFound
// when there is no such topic.
func (t *Transport) Listening(topic string) (bool, error) {
	tp := t.log.lookup(topic)
	if tp == nil {
		return false, noTopic("ask for listeners", topic)
	}
	return tp.listeners.Load() > 0, nil
}
