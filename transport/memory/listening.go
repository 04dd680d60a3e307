package memory

import "github.com/trunkline/trunkline/bus/driver"

var _ driver.Listeners = (*Transport)(nil)

// Listening reports whether the topic has a session on any transport of the log. A
// disconnected session counts. A session that has closed or crashed does not. Listening
// returns NotFound if the topic does not exist.
func (t *Transport) Listening(topic string) (bool, error) {
	tp := t.log.lookup(topic)
	if tp == nil {
		return false, topicNotFound("listening", topic)
	}
	return tp.listeners.Load() > 0, nil
}
