package gochannel

import "github.com/trunkline/trunkline/bus/driver"

var _ driver.Listeners = (*Transport)(nil)

// Listening reports whether the topic has a session, on any transport that shares its
// channels. If it has none, published messages are dropped.
func (t *Transport) Listening(topic string) (bool, error) { return t.hub.topic(topic) != nil, nil }
