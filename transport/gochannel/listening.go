package gochannel

import "github.com/trunkline/trunkline/bus/driver"

var _ driver.Listeners = (*Transport)(nil)

// Listening says whether anybody is subscribed to the topic now, on any transport of
// the same channels: if not, what is published to it is lost.
func (t *Transport) Listening(topic string) (bool, error) { return t.hub.topic(topic) != nil, nil }
