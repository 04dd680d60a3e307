package driver

// Listeners is implemented by a transport that knows who is subscribed to a topic.
// It is for administration only: delivery does not depend on it, and a decorator that
// hides it hides nothing else.
type Listeners interface {
	// Listening says whether anybody is subscribed to the topic: true as soon as that
	// may be so, false only when it is known that nobody is. A subscription that has
	// lost its broker for a moment, and will be back, counts. CodeNotFound for a topic that
	// does not exist. It does not block, and is cheap enough to be asked for each message.
	Listening(topic string) (bool, error)
}
