// Package demo runs the example core and adapter in one process, cuts their transport
// while they work, and checks that no call was lost or out of order, and that every probe
// reported the actual state.
//
// The demo observes the core from outside, as an operator does: readiness through the HTTP
// probe, the gRPC server through a client on loopback TCP, and calls by their outcomes. It
// cuts the transport where a network would be. It disconnects the memory transports from
// their log. For Kafka, its dialer resets and refuses connections. The demo itself never sets
// the readiness of the core and never makes a call fail.
package demo
