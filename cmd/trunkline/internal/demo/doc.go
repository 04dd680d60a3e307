// Package demo runs the example core and adapter in one process, cuts the transport
// under them while they work, and checks that nothing was lost, out of order or
// misreported.
//
// What it observes it observes from outside, as an operator would: readiness through
// the core's HTTP probe, the gRPC server through a client on loopback TCP, and the
// calls by their outcomes. The transport is cut where a network would be: the memory
// transports are disconnected from their log, Kafka's connections are reset and
// refused by the dialer they go through. Nothing sets a liveness or makes up an error.
package demo
