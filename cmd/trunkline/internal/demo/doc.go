// Package demo runs the example core and adapter in one process, cuts their transport
// while they work, and checks that no call was lost or out of order, and that every probe
// reported the truth.
//
// The demo observes the core from outside, as an operator does: readiness through the HTTP
// probe, the gRPC server through a client on loopback TCP, and calls by their outcomes. It
// cuts the transport where a network would be: it disconnects the memory transports from
// their log, and the dialer of the Kafka transports resets and refuses connections. It
// never sets a readiness or returns an error of its own.
package demo
