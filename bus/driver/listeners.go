package driver

// Listeners is implemented by a transport that knows the subscribers of a topic. It is for
// administration only: delivery does not depend on it, so a wrapper may omit it.
type Listeners interface {
	// Listening reports whether the topic has a subscriber. It returns true as soon as that is
	// possible, and false only when it is known that there is none. A subscription that lost its
	// broker for a moment counts. The error has CodeNotFound for a topic that does not exist.
	// Listening does not block, and is fast enough to be called for each message.
	Listening(topic string) (bool, error)
}
