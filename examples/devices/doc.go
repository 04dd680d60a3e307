// Package devices is shared by the example programs and the demo: a core adopts devices
// through an adapter, by RPC over a message bus.
//
// The adapter registers with the core ([MethodRegister]). The core then takes each device
// through three [Step]s, adopt, configure and enable, with one call each. The id of the
// device is the key of its calls, so the adapter handles the calls for a device in order,
// and those for different devices concurrently.
//
// Both sides check each other. The content of a request follows from the id of the device,
// so the adapter can compute the expected request. It rejects and records a request that
// differs or is out of order. In the same way the core checks each answer.
//
// A call may fail with an unknown outcome when the bus is disconnected. Steps are
// idempotent, so the core repeats the call. The adapter accepts a repetition of the last
// step only.
package devices
