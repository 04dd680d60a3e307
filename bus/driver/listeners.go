package driver

// Listeners is implemented by a transport that can report whether a topic has subscribers.
// Delivery does not depend on it, so a transport that wraps another may omit it.
type Listeners interface {
	// Listening reports whether the topic has a subscriber. If that is uncertain, it returns true.
	// A subscription that has lost its connection for a moment counts as a subscriber. The error
	// has CodeNotFound for a topic that does not exist. Listening must not block, and must be fast
	// enough to be called for each message.
	Listening(topic string) (bool, error)
}
